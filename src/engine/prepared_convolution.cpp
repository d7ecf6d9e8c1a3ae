// oneDNN's operators: aten/src/ATen/native/quantized/cpu/qconv.cpp.

#include "engine/prepared_convolution.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/zeros_like.h>
#include <ATen/record_function.h>

#include "engine/fusion.h"
#include "engine/registered_operators.h"
#include "engine/tiled_convolution.h"

namespace graft::engine {

using torch::jit::Node;
using torch::jit::Value;

const c10::Symbol kPreparedConvolution = c10::Symbol::fromQualString("graft::convolution");
const c10::Symbol kPreparedConvolutionInPlace = c10::Symbol::fromQualString("graft::convolution_");

namespace {

using Numbers = c10::List<std::int64_t>;
using Scalars = c10::List<std::optional<at::Scalar>>;
using Word = std::optional<std::string_view>;
using Plain = at::Tensor(at::Tensor, double, std::int64_t, at::Tensor, at::Tensor, at::Tensor,
                         std::optional<at::Tensor>, Numbers, Numbers, Numbers, std::int64_t, double, std::int64_t,
                         std::optional<at::ScalarType>, std::string_view, Scalars, Word);
using WithSum = at::Tensor(at::Tensor, double, std::int64_t, at::Tensor, at::Tensor, at::Tensor, at::Tensor,
                           std::optional<at::Tensor>, Numbers, Numbers, Numbers, std::int64_t, double, std::int64_t,
                           std::optional<at::ScalarType>, double, std::int64_t, std::string_view,
                           std::optional<at::Scalar>, Word, Scalars, Word);

template <class Signature>
c10::TypedOperatorHandle<Signature> operator_named(const char* name, const char* overload) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).typed<Signature>();
}

class Prepared : public torch::CustomClassHolder {
 public:
  /// With `sum`, if that is defined, added: it may be written over.
  virtual at::Tensor run(const at::Tensor& input, const at::Tensor& sum) const = 0;
};

template <class Convolution>
class Own : public Prepared {
 public:
  template <class Given>
  explicit Own(const Given& given) : convolution_(given) {}
  at::Tensor run(const at::Tensor& input, const at::Tensor& sum) const override { return convolution_.run(input, sum); }

 private:
  Convolution convolution_;
};

class OneDnns : public Prepared {
 public:
  OneDnns(const QuantizedConvolution& c, const std::vector<std::int64_t>& input_size)
      : plain_(operator_named<Plain>("onednn::qconv2d_pointwise", "")),
        with_sum_(operator_named<WithSum>("onednn::qconv2d_pointwise", "binary")),
        c_(c),
        stride_(c.geometry.stride),
        padding_(c.geometry.padding),
        dilation_(c.geometry.dilation),
        zero_points_(at::zeros_like(c.weight.scales, at::kInt)),
        activation_(c.geometry.with_relu ? "relu" : "none"),
        output_(c.output.value_or(Scale())),
        type_(c.output ? at::kByte : at::kFloat) {
    // A zero point slows it down, and padding is made of it.
    const bool is_padded = std::ranges::any_of(c.geometry.padding, [](auto p) { return p != 0; });
    const auto bias = is_padded ? c.bias : absorb_zero_point(c_.input, c.weight, c.bias);
    if (bias.defined()) bias_ = bias;
    torch::jit::Stack stack{
        c.weight.values,     c.weight.scales,   c_.input.scale,
        c_.input.zero_point, c.geometry.stride, c.geometry.padding,
        c.geometry.dilation, c.geometry.groups, input_size.empty() ? c10::IValue() : c10::IValue(input_size)};
    c10::Dispatcher::singleton().findSchemaOrThrow("onednn::qconv_prepack", "").callBoxed(stack);
    weight_ = stack.front().toTensor();
    c_.weight.values = at::Tensor();
  }

  at::Tensor run(const at::Tensor& input, const at::Tensor& sum) const override {
    if (sum.defined())
      return with_sum_.call(input, c_.input.scale, c_.input.zero_point, weight_, c_.weight.scales, zero_points_, sum,
                            bias_, stride_, padding_, dilation_, c_.geometry.groups, output_.scale, output_.zero_point,
                            type_, c_.sum->scale, c_.sum->zero_point, "sum", 1.0, activation_, none_, "");
    return plain_.call(input, c_.input.scale, c_.input.zero_point, weight_, c_.weight.scales, zero_points_, bias_,
                       stride_, padding_, dilation_, c_.geometry.groups, output_.scale, output_.zero_point, type_,
                       activation_, none_, "");
  }

 private:
  c10::TypedOperatorHandle<Plain> plain_;
  c10::TypedOperatorHandle<WithSum> with_sum_;
  QuantizedConvolution c_;
  Numbers stride_, padding_, dilation_;
  at::Tensor weight_, zero_points_;
  std::optional<at::Tensor> bias_;
  std::string_view activation_;
  Scalars none_;
  Scale output_;
  at::ScalarType type_;
};

const Prepared& prepared(const c10::IValue& argument) { return static_cast<const Prepared&>(*argument.toCapsule()); }

void plain_operator(torch::jit::Stack& stack) {
  RECORD_FUNCTION(kPreparedConvolution.toQualString(), {});  // LibTorch's profilers see its own operators alone
  const auto argument = torch::jit::pop(stack);
  const auto input = torch::jit::pop(stack).toTensor();
  torch::jit::push(stack, prepared(argument).run(input, {}));
}

void in_place_operator(torch::jit::Stack& stack) {
  RECORD_FUNCTION(kPreparedConvolutionInPlace.toQualString(), {});  // the same
  const auto argument = torch::jit::pop(stack);
  const auto sum = torch::jit::pop(stack).toTensor();
  const auto input = torch::jit::pop(stack).toTensor();
  torch::jit::push(stack, prepared(argument).run(input, sum));
}

}  // namespace

bool takes_bfloat16(const Geometry& geometry) {
  return geometry.groups == 1 && convolution_kernel(Arithmetic::kAmxBFloat16);
}

c10::IValue prepare(const BFloat16Convolution& convolution) {
  return c10::IValue::make_capsule(c10::make_intrusive<Own<TiledConvolution>>(convolution));
}

c10::IValue prepare(const FloatConvolution& convolution) {
  return c10::IValue::make_capsule(c10::make_intrusive<Own<WinogradConvolution>>(convolution));
}

c10::IValue prepare(const QuantizedConvolution& convolution, const std::vector<std::int64_t>& input_size) {
  c10::intrusive_ptr<torch::CustomClassHolder> prepared;
  if (convolution.geometry.groups == 1 && eight_bit_kernel()) {
    prepared = c10::make_intrusive<Own<TiledConvolution>>(convolution);
  } else {
    prepared = c10::make_intrusive<OneDnns>(convolution, input_size);
  }
  return c10::IValue::make_capsule(std::move(prepared));
}

void replace_with_prepared(Node* fused, Value* prepared) {
  auto& graph = *fused->owningGraph();
  const auto c = operands_of(fused);
  const torch::jit::WithInsertPoint at(fused);
  const auto insert = [&](c10::Symbol kind, at::ArrayRef<Value*> inputs) {
    Value* result = graph.insertNode(graph.create(kind, inputs))->output();
    result->setType(c10::TensorType::get());
    return result;
  };
  fused->output()->replaceAllUsesWith(c.other ? insert(kPreparedConvolutionInPlace, {c.input, c.other, prepared})
                                              : insert(kPreparedConvolution, {c.input, prepared}));
  fused->destroy();
}

void register_prepared_convolution() {
  static const RegisteredOperators registered{
      {"graft::convolution(Tensor x, Any prepared) -> Tensor", plain_operator},
      {"graft::convolution_(Tensor x, Tensor(a!) sum, Any prepared) -> Tensor(a!)", in_place_operator}};
}

}  // namespace graft::engine
