// The most multiply-adds an ISA's vectors can do: the yardstick of every claim of speed.
//
// kFmaChains independent chains of x = x * a + b hide the latency of the unit (4 or 5 cycles at two
// a cycle need 10) and leave registers for a and b.

namespace conv3d::CONV3D_ISA {

static constexpr int kFmaChains = 12;

// Runs `rounds` rounds of kFmaChains float FMAs; returns the floating-point operations done.
// `sink` keeps the sums alive.
static double fma_loop(int64_t rounds, float* sink) {
  VecF chains[kFmaChains];
  const VecF a = vset(0.999f), b = vset(0.001f);
#pragma GCC unroll 12
  for (int i = 0; i < kFmaChains; ++i) chains[i] = vset(0.1f * static_cast<float>(i));
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < kFmaChains; ++i) chains[i] = vfma(chains[i], a, b);
  }
  VecF sum = chains[0];
#pragma GCC unroll 12
  for (int i = 1; i < kFmaChains; ++i) sum = vadd(sum, chains[i]);
  vstore(sink, sum);
  return 2.0 * kFmaChains * kLanesF * static_cast<double>(rounds);
}

}  // namespace conv3d::CONV3D_ISA
