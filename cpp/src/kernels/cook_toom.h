// Cook-Toom matrices of the minimal filtering algorithms F(m, r), in exact rational
// arithmetic, at compile time.
//
// F(m, r) computes m outputs of a correlation with r taps, y[i] = sum_k d[i + k] g[k],
// from n = m + r - 1 products:
//
//   y = A^T [ (G g) . (B^T d) ]          A^T: m x n,  G: n x r,  B^T: n x n
//
// Evaluate the filter as a polynomial at n - 1 finite points p_j and at infinity, multiply,
// interpolate; then transpose the whole (which turns polynomial multiplication into correlation):
//
//   A^T[i][j] = p_j^i        G[j][k] = p_j^k / prod_{l != j} (p_j - p_l)
//   A^T[m-1][inf] = 1        G[inf][r-1] = 1
//   B^T[j] = coefficients of prod_{l != j} (x - p_l)
//   B^T[inf] = coefficients of prod_l (x - p_l)
//
// The points come in pairs +-p, with 0 when their number is odd, so that every row of B^T
// splits into an even and an odd half shared by the two points of a pair;
// winograd_transform.inl is built on that.
//
// The points decide the rounding error. The textbook's 0, +-1, +-2 make F(4, 3) in three
// dimensions 5 to 11 times less accurate than those below, which were chosen by measuring 3-D
// errors against float64 (see algorithms/winograd/README.md). A reciprocal pair (2/3, 3/2) also
// makes a coefficient exactly one.
//
// Every matrix set is proved at compile time: over all basis vectors d = e_a, g = e_b it must give
// exactly [a - b in [0, m)].
//
// Source: A. Toom 1963, S. Cook 1966; S. Winograd, Arithmetic Complexity of Computations, 1980; A.
// Lavin and S. Gray, Fast Algorithms for Convolutional Neural Networks, 2016. Plain arrays and
// consteval only: nothing of this may leave code in a file that is compiled with ISA flags.
#pragma once

#include <cstdint>

namespace conv3d::cook_toom {

struct Ratio {
  int64_t num = 0;
  int64_t den = 1;  // > 0, in lowest terms
};

consteval int64_t gcd(int64_t a, int64_t b) {
  a = a < 0 ? -a : a;
  b = b < 0 ? -b : b;
  while (b != 0) {
    const int64_t t = a % b;
    a = b;
    b = t;
  }
  return a;
}
// Overflow of a signed product in a constant expression does not compile, so no result
// here can be silently wrong.
consteval Ratio ratio(int64_t num, int64_t den = 1) {
  const int64_t g = gcd(num, den) * (den < 0 ? -1 : 1);
  return g == 0 ? Ratio{0, 1} : Ratio{num / g, den / g};
}
consteval Ratio add(Ratio a, Ratio b) {
  const int64_t g = gcd(a.den, b.den);
  return ratio(a.num * (b.den / g) + b.num * (a.den / g), a.den / g * b.den);
}
consteval Ratio mul(Ratio a, Ratio b) {
  const Ratio x = ratio(a.num, b.den),
              y = ratio(b.num, a.den);  // cross-cancel first: smaller numbers
  return ratio(x.num * y.num, x.den * y.den);
}
consteval Ratio neg(Ratio a) { return Ratio{-a.num, a.den}; }
consteval Ratio inv(Ratio a) { return ratio(a.den, a.num); }
consteval double to_double(Ratio a) {
  return static_cast<double>(a.num) / static_cast<double>(a.den);
}

// The positive halves of the point pairs for n = finite points + 1; 0 is added when n is even.
consteval Ratio pair_point(int points, int q) {
  switch (points) {
    case 3:
    case 4: return ratio(1);                            // [0,] +-1
    case 5: return q == 0 ? ratio(1, 2) : ratio(5, 4);  // +-1/2, +-5/4
    case 6: return q == 0 ? ratio(2, 3) : ratio(3, 2);  // 0, +-2/3, +-3/2
    case 7: return q == 0 ? ratio(2, 5) : q == 1 ? ratio(9, 10) : ratio(8, 5);
    case 8: return q == 0 ? ratio(1, 2) : q == 1 ? ratio(1) : ratio(2);  // 0, +-1/2, +-1, +-2
    default: return ratio(0);
  }
}
consteval int pair_count(int points) { return (points - 1) / 2; }
consteval bool has_zero(int points) { return points > 1 && (points - 1) % 2 == 1; }

// Finite point j in the order [0,] +p0, -p0, +p1, -p1, ...
consteval Ratio finite_point(int points, int j) {
  if (has_zero(points)) {
    if (j == 0) return ratio(0);
    --j;
  }
  const Ratio p = pair_point(points, j / 2);
  return j % 2 == 0 ? p : neg(p);
}

inline constexpr int kMaxPoints = 8;

template <int M, int R>
struct Matrices {
  static constexpr int kPoints = M + R - 1;
  Ratio a[M][kPoints];        // A^T
  Ratio g[kPoints][R];        // G
  Ratio b[kPoints][kPoints];  // B^T
};

template <int M, int R>
consteval Matrices<M, R> make() {
  constexpr int kN = M + R - 1;
  static_assert(kN >= 1 && kN <= kMaxPoints);
  Matrices<M, R> x{};
  for (int j = 0; j < kN - 1; ++j) {
    const Ratio p = finite_point(kN, j);
    Ratio power = ratio(1);
    for (int i = 0; i < M; ++i, power = mul(power, p)) x.a[i][j] = power;
    Ratio norm = ratio(1);
    for (int l = 0; l < kN - 1; ++l)
      if (l != j) norm = mul(norm, add(p, neg(finite_point(kN, l))));
    power = inv(norm);
    for (int k = 0; k < R; ++k, power = mul(power, p)) x.g[j][k] = power;
  }
  x.a[M - 1][kN - 1] = ratio(1);
  x.g[kN - 1][R - 1] = ratio(1);
  for (int j = 0; j < kN; ++j) {  // j == kN - 1 is infinity: the product over all finite points
    Ratio poly[kN + 1] = {};
    poly[0] = ratio(1);
    int degree = 0;
    for (int l = 0; l < kN - 1; ++l) {
      if (l == j) continue;
      const Ratio root = neg(finite_point(kN, l));
      for (int k = ++degree; k > 0; --k) poly[k] = add(poly[k - 1], mul(poly[k], root));
      poly[0] = mul(poly[0], root);
    }
    for (int k = 0; k <= degree; ++k) x.b[j][k] = poly[k];
  }
  return x;
}

// True if the matrices compute the correlation exactly, for all pairs of basis vectors
// (hence, being bilinear, always).
template <int M, int R>
consteval bool is_exact() {
  const Matrices<M, R> x = make<M, R>();
  for (int i = 0; i < M; ++i)
    for (int a = 0; a < M + R - 1; ++a)
      for (int b = 0; b < R; ++b) {
        Ratio sum = ratio(0);
        for (int j = 0; j < M + R - 1; ++j)
          sum = add(sum, mul(x.a[i][j], mul(x.g[j][b], x.b[j][a])));
        const int64_t want = a == i + b ? 1 : 0;
        if (sum.num != want || sum.den != 1) return false;
      }
  return true;
}

static_assert(is_exact<1, 1>());
static_assert(is_exact<2, 3>() && is_exact<3, 3>() && is_exact<4, 3>());
static_assert(is_exact<2, 5>() && is_exact<3, 5>());
static_assert(is_exact<2, 2>() && is_exact<3, 2>() && is_exact<4, 2>());
static_assert(is_exact<2, 4>() && is_exact<3, 4>());
static_assert(is_exact<6, 2>() && is_exact<4, 4>() && is_exact<4, 5>() && is_exact<6, 3>());

// What the fast transforms need of n points: the halves P_q of the rows, and the powers
// of the points.
//   rows +-p_q:  d . (x P_q) +- p_q (d . P_q),  P_q = [x] prod_{l != q} (x^2 - p_l^2)
//   row 0:       d . Z,  Z = prod_l (x^2 - p_l^2)
//   row inf.:    d . ([x] Z)
// [x]: only with the point 0.
template <int N>
struct Halves {
  static constexpr int kPairs = (N - 1) / 2;
  static constexpr int kZero = N > 1 && (N - 1) % 2 == 1 ? 1 : 0;
  float point[kPairs > 0 ? kPairs : 1];
  float pair[kPairs > 0 ? kPairs : 1][kPairs > 0 ? kPairs : 1];  // [q][k]: coefficient of x^(2k +
                                                                 // kZero) in P_q; the last is 1
  float all[kPairs + 1];                    // [k]: coefficient of x^(2k) in Z; the last is 1
  float power[kPairs > 0 ? kPairs : 1][8];  // [q][i]: p_q^i
};

template <int N>
consteval Halves<N> make_halves() {
  constexpr int kPairs = Halves<N>::kPairs;
  Halves<N> h{};
  for (int q = 0; q <= kPairs; ++q) {  // q == kPairs: all pairs
    Ratio poly[kPairs + 2] = {};
    poly[0] = ratio(1);
    int degree = 0;
    for (int l = 0; l < kPairs; ++l) {
      if (l == q) continue;
      const Ratio root = neg(mul(pair_point(N, l), pair_point(N, l)));
      for (int k = ++degree; k > 0; --k) poly[k] = add(poly[k - 1], mul(poly[k], root));
      poly[0] = mul(poly[0], root);
    }
    for (int k = 0; k <= degree; ++k) {
      const float value = static_cast<float>(to_double(poly[k]));
      if (q == kPairs)
        h.all[k] = value;
      else
        h.pair[q][k] = value;
    }
    if (q < kPairs) {
      const Ratio p = pair_point(N, q);
      h.point[q] = static_cast<float>(to_double(p));
      Ratio power = ratio(1);
      for (int i = 0; i < 8; ++i) {
        h.power[q][i] = static_cast<float>(to_double(power));
        if (i < 7) power = mul(power, p);
      }
    }
  }
  return h;
}

}  // namespace conv3d::cook_toom
