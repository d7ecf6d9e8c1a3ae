/// Tests that run on the CPU, and on a CUDA device where there is one.
#pragma once

#include <string>

#include <ATen/Context.h>
#include <gtest/gtest.h>

#include <graft/device.h>

namespace graft::testing {

class EachDevice : public ::testing::TestWithParam<Device::Type> {
 protected:
  void SetUp() override {
    if (!device().is_cuda()) return;
    if (cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device";
    at::globalContext().setDeterministicCuDNN(true);  // for those that compare bits
  }
  static Device device() { return {GetParam(), 0}; }
};

/// For INSTANTIATE_TEST_SUITE_P of a suite derived from EachDevice.
inline auto devices() { return ::testing::Values(Device::Type::kCpu, Device::Type::kCuda); }
inline std::string device_name(const ::testing::TestParamInfo<Device::Type>& info) {
  return info.param == Device::Type::kCuda ? "cuda" : "cpu";
}

}  // namespace graft::testing
