/// LibTorch's default type for numbers, of the whole process.
#pragma once

#include <c10/core/DefaultDtype.h>
#include <c10/core/ScalarType.h>

namespace graft::testing {

/// Double for a scope, as some programs have it.
class DoubleByDefault {
 public:
  DoubleByDefault() { c10::set_default_dtype(c10::scalarTypeToTypeMeta(c10::kDouble)); }
  ~DoubleByDefault() { c10::set_default_dtype(before_); }
  DoubleByDefault(const DoubleByDefault&) = delete;
  DoubleByDefault& operator=(const DoubleByDefault&) = delete;

 private:
  caffe2::TypeMeta before_ = c10::get_default_dtype();
};

}  // namespace graft::testing
