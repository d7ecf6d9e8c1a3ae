/// Batches for the network: decoded, augmented and normalised, or tokenised, by several threads ahead of their use.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/dataset.h>
#include <graft/device.h>
#include <graft/export.h>
#include <graft/input.h>

namespace graft {

/// Which part of every batch one of several processes gets, so that all of them together have what one would have.
struct BatchShare {
  int part = 0;   ///< 0 to parts - 1
  int parts = 1;  ///< processes
  /// False: a piece of the batch, as large as the others'. True: the examples that it has so in epoch 0, in every
  /// epoch, so that what is kept of them is found again.
  bool by_example = false;
};

/// What a DataLoader hands out, and how far ahead it works.
struct LoaderOptions {
  std::int64_t batch_size = 32;
  bool shuffle = false;  ///< a new order every epoch, from `seed`
  bool augment = false;  ///< apply the data set's augmentation
  /// Epoch e augments as epoch e % this did; 0: each epoch in a way of its own.
  std::uint64_t augmented_variants = 0;
  /// Not empty: an epoch draws as many examples as there are, with repetitions, each with a chance of its weight
  /// (torch's WeightedRandomSampler), instead of shuffling. Repeated ones are augmented differently.
  std::vector<double> weights = {};
  bool drop_last = false;  ///< leave out a last batch that is smaller than batch_size
  std::uint64_t seed = 0;
  int threads = 2;           ///< decoding threads
  int prefetch_batches = 2;  ///< batches prepared ahead; bounds the memory used
  /// Pictures that are not augmented come as bytes: uint8, RGB, not normalised, a quarter of the memory. Model's
  /// functions normalise them, on the model's device.
  bool bytes = false;
  /// With several parts next() hands out as many batches to each, of which some may be empty, and an epoch none of
  /// whose pictures can be read is no error.
  BatchShare share = {};
  /// Where Batch::images is. To a CUDA device pictures go as bytes, page-locked and ahead of their use, beside what it
  /// computes; there Keras' changes and normalisation are computed, equal to the threads' but for rounding.
  Device device = {};
  /// Says that a picture is not wanted, as it would be augmented in `epoch` (Batch::epochs): it is not read, its
  /// example is in the batch without it. Called from the loader's threads, once for each example.
  std::function<bool(std::size_t index, std::uint64_t epoch)> skip_image = {};
};

/// Some of a data set, ready for the network.
struct GRAFT_EXPORT Batch {
  /// [N, 3, H, W], float32 (uint8 with LoaderOptions::bytes), on LoaderOptions::device; channels last in memory, as
  /// convolutions want it. Of texts their tokens, [N, T] of int64, as long as the longest, the others filled up. With
  /// skip_image those of image_rows alone.
  at::Tensor images;
  at::Tensor labels;                     ///< [N], int64: class indices, CPU
  at::Tensor targets;                    ///< [N, T], float32: Dataset::targets, CPU
  std::vector<std::size_t> indices;      ///< which examples of the data set these are
  std::vector<std::int64_t> image_rows;  ///< which of these have their picture in `images`: all without skip_image
  /// Which epoch's random changes each has: this one, with augmented_variants the remainder; others where an example is
  /// repeated.
  std::vector<std::uint64_t> epochs;

  std::int64_t size() const { return static_cast<std::int64_t>(indices.size()); }
  /// [N, classes], float32: Keras' class_mode="categorical". Throws Error kMismatch if a label does not fit.
  at::Tensor one_hot(std::int64_t classes) const;
};

/// A picture that could not be read, and why.
struct BadImage {
  std::string name;
  std::string message;
};

/// Iterates over a data set. Order, augmentation and batches depend on the options and the epoch alone, not on the
/// number of threads. The data set must outlive the loader. One thread at a time may call next() and start_epoch().
class GRAFT_EXPORT DataLoader {
 public:
  /// Model::input() says how examples become rows. Throws Error kConfig for options out of range, kMismatch for an
  /// empty data set.
  DataLoader(const Dataset& dataset, const Input& input, const LoaderOptions& options = {});
  ~DataLoader();
  DataLoader(DataLoader&&) noexcept;
  DataLoader& operator=(DataLoader&&) noexcept;

  /// The next batch of this epoch, or nothing at its end. Rethrows the Error of a picture under OnBadImage::kFail;
  /// under kSkip the batch is that much smaller (never empty). Throws kMismatch at an epoch's end if no picture of the
  /// whole epoch could be read.
  std::optional<Batch> next();

  /// Examples of these rows of a batch, as Batch::images has them, read now: for some that were skipped.
  /// Throws the Error of one that cannot be read.
  at::Tensor load(const Batch& batch, const std::vector<std::int64_t>& rows) const;

  /// Begins epoch `epoch` (0-based), at its batch `first_batch`. A new loader stands at the beginning of epoch 0.
  void start_epoch(std::uint64_t epoch, std::size_t first_batch = 0);
  /// The batch of this epoch that comes next, counting those without a readable picture.
  std::size_t next_batch() const;

  /// Batches in an epoch if every picture can be read.
  std::size_t batches_per_epoch() const;

  /// Unreadable pictures met so far, each once, in data set order.
  std::vector<BadImage> bad_images() const;

 private:
  struct Impl;
  Impl& impl() const;
  std::unique_ptr<Impl> impl_;
};

}  // namespace graft
