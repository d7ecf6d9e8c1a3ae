/// Tensors of tests/golden and how close they are.
#pragma once

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/files.h"
#include "support/scratch.h"

namespace graft::testing {

/// Raw little-endian float32 values as a tensor of this shape.
inline at::Tensor golden_tensor(const std::filesystem::path& name, at::IntArrayRef shape) {
  const std::string bytes = slurp(golden(name));
  at::Tensor tensor = at::empty(shape, at::TensorOptions().dtype(at::kFloat));
  if (bytes.size() != tensor.nbytes()) throw std::runtime_error(name.string() + " has another size");
  std::memcpy(tensor.data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

/// Largest difference of two tensors is at most `tolerance`.
inline ::testing::AssertionResult close(const at::Tensor& found, const at::Tensor& expected, double tolerance) {
  if (found.sizes() != expected.sizes())
    return ::testing::AssertionFailure() << "shape " << found.sizes() << ", expected " << expected.sizes();
  const double difference = (found - expected).abs().max().item<double>();
  if (!(difference <= tolerance)) return ::testing::AssertionFailure() << "largest difference " << difference;
  return ::testing::AssertionSuccess();
}

}  // namespace graft::testing
