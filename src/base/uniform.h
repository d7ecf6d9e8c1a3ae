/// Random numbers that depend on a key alone and are the same with every standard library.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>

namespace graft::base {

/// What is drawn, and for what: the same key gives the same numbers, on any thread.
struct DrawKey {
  std::uint64_t seed = 0;
  std::uint64_t epoch = 0;
  std::uint64_t index = 0;   ///< of the example or step
  std::uint64_t stream = 0;  ///< keeps apart what different parts of the library draw for it
};

class Uniform {
 public:
  explicit Uniform(const DrawKey& key)
      : engine_(mix(mix(mix(key.seed) + key.epoch) + key.index) ^ (key.stream * 0xd1b54a32d192ed03u)) {}

  double operator()(double low, double high) {
    return low + (high - low) * static_cast<double>(engine_() >> 11) * 0x1p-53;
  }
  /// Equally likely 0 to count - 1.
  int below(int count) { return static_cast<int>((*this)(0, count)); }
  double log_uniform(double low, double high) { return std::exp((*this)(std::log(low), std::log(high))); }

 private:
  /// SplitMix64's finaliser (Steele, Lea, Flood 2014): spreads neighbouring keys over the whole range.
  static std::uint64_t mix(std::uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }

  std::mt19937_64 engine_;
};

}  // namespace graft::base
