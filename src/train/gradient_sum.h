/// Gradients summed over processes while the backward pass goes on.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/communicator.h>

namespace graft::train {

/// The backward pass yields the gradients of the last layers first. They are summed in buckets, the last parameters'
/// first, each as soon as it and those before it are there: in the same order in every process, also in one that has
/// nothing of a batch. On CUDA, where gradients are there only in the stream's time, all are summed at the end, unless
/// the sums run in the stream's time too and there is more than a bucket of them.
class GradientSum {
 public:
  static constexpr std::size_t kBucketBytes = std::size_t{4} << 20;

  /// `parameters`: those that get gradients in one of the processes, in the same order in all. `processes` must outlive
  /// it.
  GradientSum(Communicator& processes, std::vector<at::Tensor> parameters, std::size_t bucket_bytes = kBucketBytes);
  ~GradientSum();
  GradientSum(const GradientSum&) = delete;
  GradientSum& operator=(const GradientSum&) = delete;

  /// Whether the backward pass is to begin sums: it must then not be recorded.
  bool overlaps() const { return overlaps_; }

  /// The next backward pass is the last before finish(): what it leaves in the parameters is to be summed.
  void expect();
  /// It is over, or there is none: what has not been begun is begun. Gradients that are not there are zeros.
  void begin_rest();
  /// begin_rest(), and waits: the gradients are the sums.
  void finish();

 private:
  class Hook;
  struct Bucket {
    std::vector<at::Tensor> parameters;
    std::size_t missing = 0;  ///< gradients that are not there yet
  };

  void is_there(Bucket& bucket);
  void begin(const Bucket& bucket);

  Communicator& processes_;
  std::vector<Bucket> buckets_;
  bool overlaps_ = false;
  std::size_t begun_ = 0;  ///< buckets
  bool expects_ = false;
  std::deque<std::unique_ptr<Communicator::Pending>> pending_;
};

}  // namespace graft::train
