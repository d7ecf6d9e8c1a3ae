#include "data/rows.h"

#include <algorithm>
#include <cstddef>
#include <mutex>
#include <span>
#include <string>
#include <utility>

#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>

#include "base/overloaded.h"
#include "base/translate.h"
#include "image/pipeline.h"
#include "image/tensor_transform.h"
#include "text/padded.h"

namespace graft::data {

namespace {

/// Pictures are of one size: each goes straight to its place.
class ImageRows final : public Rows {
 public:
  ImageRows(const Dataset& dataset, const Preprocessing& preprocessing, const LoaderOptions& options, std::size_t count,
            bool later)
      : dataset_(dataset),
        preprocessing_(preprocessing),
        options_(options),
        count_(static_cast<std::int64_t>(count)),
        augments_(options.augment && dataset.augment().enabled()),
        later_(later && (!augments_ || image::can_be_split(dataset.augment()))),
        as_bytes_(later_ || (options.bytes && !augments_)),
        changes_(augments_ && later_ ? count : 0) {}

  void read(std::size_t row, std::size_t index, std::uint64_t epoch) override {
    std::call_once(wanted_, [&] { images_ = empty(count_); });
    const Image image = dataset_.image(index);
    const auto size = static_cast<std::size_t>(images_.numel() / count_);
    const auto out = [&]<class Value>(Value* data) { return std::span(data + row * size, size); };
    const image::DrawKey key{options_.seed, epoch, index};
    if (as_bytes_) {
      const auto bytes = out(images_.mutable_data_ptr<std::uint8_t>());
      if (augments_) {
        changes_[row] = image::begin_changes(image, preprocessing_, dataset_.augment(), key, bytes);
      } else {
        image::to_pixels(image, preprocessing_, bytes);
      }
    } else if (augments_) {
      image::to_input(image, preprocessing_, dataset_.augment(), key, out(images_.mutable_data_ptr<float>()));
    } else {
      image::to_input(image, preprocessing_, out(images_.mutable_data_ptr<float>()));
    }
  }

  at::Tensor finish(const std::vector<std::size_t>& rows) override {
    if (rows.empty()) return empty(0);
    const auto size = images_.nbytes() / static_cast<std::size_t>(count_);
    auto* data = static_cast<std::byte*>(images_.mutable_data_ptr());
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (rows[i] == i) continue;
      std::copy_n(data + rows[i] * size, size, data + i * size);
      if (!changes_.empty()) changes_[i] = changes_[rows[i]];
    }
    return images_.narrow(0, 0, std::ssize(rows));
  }

  at::Tensor to(c10::Device device, const at::Tensor& finished) const override {
    const auto there = finished.to(device, /*non_blocking=*/true);
    if (!later_ || (options_.bytes && !augments_)) return there;
    if (!augments_) return image::normalised(there, preprocessing_);
    const auto first = changes_.begin();
    return image::finish_changes(there, {first, first + finished.size(0)}, dataset_.augment(), preprocessing_);
  }

 private:
  at::Tensor empty(std::int64_t count) const {
    return at::empty(
        {count, 3, preprocessing_.crop_height_px, preprocessing_.crop_width_px},
        at::TensorOptions().dtype(as_bytes_ ? at::kByte : at::kFloat).pinned_memory(options_.device.is_cuda()),
        at::MemoryFormat::ChannelsLast);
  }

  const Dataset& dataset_;
  const Preprocessing& preprocessing_;
  const LoaderOptions& options_;
  std::int64_t count_;
  bool augments_, later_, as_bytes_;
  std::vector<image::LaterChanges> changes_;  ///< by row; what to() has still to do
  std::once_flag wanted_;
  at::Tensor images_;  ///< [count, 3, H, W], channels last; undefined until a picture is wanted
};

/// Texts are as long as they are: only the whole batch says how long its rows will be.
class TextRows final : public Rows {
 public:
  TextRows(const Dataset& dataset, const Tokenizer& tokenizer, const LoaderOptions& options, std::size_t count)
      : dataset_(dataset), tokenizer_(tokenizer), pinned_(options.device.is_cuda()), tokens_(count) {}

  void read(std::size_t row, std::size_t index, std::uint64_t) override {
    const auto text = dataset_.text(index);
    tokens_[row] = base::named(dataset_.name(index), [&] { return tokenizer_.encode(text); });
  }

  at::Tensor finish(const std::vector<std::size_t>& rows) override {
    std::vector<std::vector<std::int64_t>> chosen;
    for (const auto row : rows) chosen.push_back(std::move(tokens_[row]));
    return text::padded(chosen, tokenizer_.padding_index(), pinned_);
  }

  at::Tensor to(c10::Device device, const at::Tensor& finished) const override {
    return finished.to(device, /*non_blocking=*/true);
  }

 private:
  const Dataset& dataset_;
  const Tokenizer& tokenizer_;
  bool pinned_;
  std::vector<std::vector<std::int64_t>> tokens_;
};

}  // namespace

std::unique_ptr<Rows> make_rows(const Dataset& dataset, const Input& input, const LoaderOptions& options,
                                std::size_t count, bool later) {
  return std::visit(base::Overloaded{[&](const Preprocessing& preprocessing) -> std::unique_ptr<Rows> {
                                       return std::make_unique<ImageRows>(dataset, preprocessing, options, count,
                                                                          later);
                                     },
                                     [&](const Tokenizer& tokenizer) -> std::unique_ptr<Rows> {
                                       return std::make_unique<TextRows>(dataset, tokenizer, options, count);
                                     }},
                    input);
}

at::Tensor joined(const at::Tensor& first, const at::Tensor& second, const Input& input) {
  const auto* tokenizer = std::get_if<Tokenizer>(&input);
  if (!tokenizer) return at::cat({first, second});
  const auto length = std::max(first.size(1), second.size(1));
  const auto padded = [&](const at::Tensor& tokens) {
    return at::constant_pad_nd(tokens, {0, length - tokens.size(1)}, tokenizer->padding_index());
  };
  return at::cat({padded(first), padded(second)});
}

}  // namespace graft::data
