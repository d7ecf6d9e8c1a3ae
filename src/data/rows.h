/// The rows of a batch, whatever examples are: the one place of the loader that pictures and texts have apart.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/dataset.h>
#include <graft/input.h>
#include <graft/loader.h>

namespace graft::data {

/// Rows under construction.
class Rows {
 public:
  virtual ~Rows() = default;
  /// Reads an example into a row, with the data set's random changes for `epoch` where they are asked for. For
  /// different rows from several threads at once. Throws what the data set does.
  virtual void read(std::size_t row, std::size_t index, std::uint64_t epoch) = 0;
  /// The batch of these rows, in ascending order; once. In memory that is page-locked for a CUDA device.
  virtual at::Tensor finish(const std::vector<std::size_t>& rows) = 0;
  /// What finish() gave, on a device, where it is changed and normalised if it was not before.
  virtual at::Tensor to(c10::Device device, const at::Tensor& finished) const = 0;
};

/// Room for so many. All arguments must outlive it. `later`: pictures stay bytes until to(), where that is possible.
std::unique_ptr<Rows> make_rows(const Dataset& dataset, const Input& input, const LoaderOptions& options,
                                std::size_t count, bool later);

/// One batch behind the other: [rows of both, ...].
at::Tensor joined(const at::Tensor& first, const at::Tensor& second, const Input& input);

}  // namespace graft::data
