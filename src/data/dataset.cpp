#include <graft/dataset.h>

#include <string>
#include <utility>

#include "base/check.h"

namespace graft {

Dataset::~Dataset() = default;

std::vector<float> Dataset::targets(std::size_t i) const { return {static_cast<float>(label(i))}; }

Image Dataset::image(std::size_t) const {
  throw Error(ErrorCode::kMismatch, "this network takes pictures, which this data set has none of");
}

std::string Dataset::text(std::size_t) const {
  throw Error(ErrorCode::kMismatch, "this network takes texts, which this data set has none of");
}

std::string Dataset::content_id(std::size_t) const { return {}; }

const Augment& Dataset::augment() const {
  static const Augment none;
  return none;
}

Subset::Subset(const Dataset& all, std::vector<std::size_t> indices) : all_(&all), indices_(std::move(indices)) {
  for (const auto index : indices_)
    if (index >= all.size())
      base::refuse("subset: index", "0 to below " + std::to_string(all.size()), std::to_string(index));
}

std::size_t Subset::size() const { return indices_.size(); }
const std::vector<std::string>& Subset::classes() const { return all_->classes(); }
std::int64_t Subset::label(std::size_t i) const { return all_->label(original(i)); }
std::vector<float> Subset::targets(std::size_t i) const { return all_->targets(original(i)); }
Image Subset::image(std::size_t i) const { return all_->image(original(i)); }
std::string Subset::text(std::size_t i) const { return all_->text(original(i)); }
std::string Subset::content_id(std::size_t i) const { return all_->content_id(original(i)); }
std::string Subset::name(std::size_t i) const { return all_->name(original(i)); }
OnBadImage Subset::on_bad_image() const { return all_->on_bad_image(); }
const Augment& Subset::augment() const { return all_->augment(); }

std::size_t Subset::original(std::size_t i) const {
  if (i < indices_.size()) return indices_[i];
  base::refuse("subset", "an example below " + std::to_string(size()), std::to_string(i));
}

}  // namespace graft
