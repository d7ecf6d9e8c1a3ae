/// Randomness that is drawn from LibTorch's default generator (dropout, torch::nn's first weights), made repeatable.
///
/// There is one such generator for each device, and no way to have those draw from another. Who uses it by what is here
/// has it alone: other threads wait. Code that draws from it on its own is not kept out.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

namespace graft::base {

/// Seeds the device's default generator for a scope and puts its state back afterwards. Scopes of one thread may lie
/// within each other.
class SeededGenerator {
 public:
  SeededGenerator(c10::Device device, std::uint64_t seed);
  ~SeededGenerator();
  /// Where it stands, [bytes] uint8 on the CPU.
  at::Tensor state();
  void set_state(const at::Tensor& state);
  SeededGenerator(const SeededGenerator&) = delete;
  SeededGenerator& operator=(const SeededGenerator&) = delete;

 private:
  std::unique_lock<std::recursive_mutex> alone_;
  at::Generator generator_;
  at::Tensor state_;
};

/// One sequence of random numbers, of which a stretch is drawn now and then: between them the default generator is as
/// others have it, and what they draw changes nothing here. One thread at a time.
class RandomSequence {
 public:
  RandomSequence(c10::Device device, std::uint64_t seed);

  /// Calls `work`, which draws from the device's default generator what comes next in this sequence. If it throws,
  /// nothing was drawn. Not within a recording of CudaGraph.
  void draw(const std::function<void()>& work);

  /// Where it stands, [bytes] uint8 on the CPU.
  const at::Tensor& state() const { return state_; }
  /// Throws what LibTorch throws for what is no state of such a generator.
  void set_state(const at::Tensor& state);

 private:
  c10::Device device_;
  at::Tensor state_;
};

}  // namespace graft::base
