/// Lower precision for a scope.
#pragma once

#include <optional>

#include <ATen/autocast_mode.h>

#include <graft/device.h>

#include "base/torch_device.h"

namespace graft::model {

/// Autocast for the calling thread, as torch.autocast sets it; undone at the end of the scope.
class Autocast {
 public:
  Autocast(Precision precision, Device device) : type_(base::to_torch(device).type()) {
    if (precision != Precision::kBFloat16 && precision != Precision::kFloat16) return;
    was_enabled_ = at::autocast::is_autocast_enabled(type_);
    old_type_ = at::autocast::get_autocast_dtype(type_);
    at::autocast::set_autocast_enabled(type_, true);
    at::autocast::set_autocast_dtype(type_, precision == Precision::kFloat16 ? at::kHalf : at::kBFloat16);
    at::autocast::increment_nesting();
  }
  ~Autocast() {
    if (!was_enabled_) return;
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(type_, *was_enabled_);
    at::autocast::set_autocast_dtype(type_, old_type_);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  c10::DeviceType type_;
  std::optional<bool> was_enabled_;
  at::ScalarType old_type_ = at::kFloat;
};

}  // namespace graft::model
