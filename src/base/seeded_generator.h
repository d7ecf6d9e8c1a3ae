/// Randomness that is drawn from LibTorch's default generator (dropout, torch::nn's first weights), made repeatable.
#pragma once

#include <cstdint>
#include <mutex>

#include <ATen/Context.h>

namespace graft::base {

/// Seeds the device's default generator for a scope and puts its state back afterwards.
class SeededGenerator {
 public:
  SeededGenerator(c10::Device device, std::uint64_t seed) : generator_(at::globalContext().defaultGenerator(device)) {
    const std::lock_guard lock(generator_.mutex());
    state_ = generator_.get_state();
    generator_.set_current_seed(seed);
  }
  ~SeededGenerator() {
    const std::lock_guard lock(generator_.mutex());
    generator_.set_state(state_);
  }
  /// Where it stands, [bytes] uint8 on the CPU.
  at::Tensor state() {
    const std::lock_guard lock(generator_.mutex());
    return generator_.get_state();
  }
  void set_state(const at::Tensor& state) {
    const std::lock_guard lock(generator_.mutex());
    generator_.set_state(state);
  }
  SeededGenerator(const SeededGenerator&) = delete;
  SeededGenerator& operator=(const SeededGenerator&) = delete;

 private:
  at::Generator generator_;
  at::Tensor state_;
};

}  // namespace graft::base
