#include "base/seeded_generator.h"

#include <array>
#include <cstddef>
#include <limits>

#include <ATen/Context.h>

namespace graft::base {

namespace {

std::recursive_mutex& users_of(c10::Device device) {
  static std::array<std::recursive_mutex, std::size_t{2} + std::numeric_limits<c10::DeviceIndex>::max()> mutexes;
  return mutexes[device.is_cpu() ? 0 : 1 + static_cast<std::size_t>(device.index())];
}

}  // namespace

SeededGenerator::SeededGenerator(c10::Device device, std::uint64_t seed)
    : alone_(users_of(device)), generator_(at::globalContext().defaultGenerator(device)) {
  const std::lock_guard lock(generator_.mutex());
  state_ = generator_.get_state();
  generator_.set_current_seed(seed);
}

SeededGenerator::~SeededGenerator() {
  const std::lock_guard lock(generator_.mutex());
  generator_.set_state(state_);
}

at::Tensor SeededGenerator::state() {
  const std::lock_guard lock(generator_.mutex());
  return generator_.get_state();
}

void SeededGenerator::set_state(const at::Tensor& state) {
  const std::lock_guard lock(generator_.mutex());
  generator_.set_state(state);
}

RandomSequence::RandomSequence(c10::Device device, std::uint64_t seed)
    : device_(device), state_(SeededGenerator(device, seed).state()) {}

void RandomSequence::draw(const std::function<void()>& work) {
  SeededGenerator generator(device_, 0);
  generator.set_state(state_);
  work();
  state_ = generator.state();
}

void RandomSequence::set_state(const at::Tensor& state) {
  SeededGenerator generator(device_, 0);
  generator.set_state(state);
  state_ = generator.state();
}

}  // namespace graft::base
