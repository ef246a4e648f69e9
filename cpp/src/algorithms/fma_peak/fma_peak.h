// Measures the FMA rate that the chosen ISA reaches on this machine, now: what a share
// of the peak is a share of.
#pragma once

namespace conv3d {

// Floating-point operations a second of `threads` threads running independent FMAs for about
// `seconds` each. Throws Error{kInvalidArgument} unless threads >= 1 and 0 < seconds <= 10.
double measure_fma_peak(int threads, double seconds);

}  // namespace conv3d
