#include <cmath>
#include <string>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <graft/error.h>
#include <graft/head.h>

#include "base/text.h"
#include "model/head_recipe.h"

namespace graft {

Head::Head(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Head::~Head() = default;
std::string Head::describe() const { return impl_->describe(); }
std::int64_t Head::classes() const { return impl_->classes(); }

namespace {

void check(bool fine, const std::string& what, double found) {
  if (!fine) throw Error(ErrorCode::kConfig, "head: expected " + what + ", found " + std::to_string(found));
}

/// Dense layers, one behind the other, on pooled features.
class Dense : public Head::Impl {
 public:
  explicit Dense(heads::MlpOptions options) : o_(std::move(options)) {
    check(o_.classes > 0, "at least one class", static_cast<double>(o_.classes));
    for (const auto width : o_.hidden) check(width > 0, "hidden widths above 0", static_cast<double>(width));
    check(o_.dropout >= 0 && o_.dropout < 1, "dropout in [0, 1)", o_.dropout);
  }

  std::string describe() const override {
    if (o_.hidden.empty()) return "linear";
    std::string text = "mlp:";
    for (std::size_t i = 0; i < o_.hidden.size(); ++i) text += (i ? "," : "") + std::to_string(o_.hidden[i]);
    return text;
  }

  std::int64_t classes() const override { return o_.classes; }

  graph::Network build(const std::vector<std::int64_t>& shape, const graph::Network& beside) const override {
    auto generator = at::detail::createCPUGenerator(o_.seed);
    const bool maps = shape.size() == 4;
    std::int64_t width = maps ? shape[1] : shape.back();

    std::string body;
    if (maps) body += "x = torch.mean(x, [2, 3])\n";
    if (shape.size() == 3) body += "x = torch.mean(x, [1])\n";
    graph::NetworkBuilder head("Head", beside);
    if (!o_.hidden.empty()) {
      graph::NetworkBuilder hidden("Hidden", beside);
      std::string chain;
      for (std::size_t i = 0; i < o_.hidden.size(); ++i) {
        const std::string name = "fc" + std::to_string(i + 1);
        hidden.child(name, linear(width, o_.hidden[i], generator, beside));
        chain += dropout() + "x = torch." + activation() + "(self." + name + ".forward(x))\n";
        width = o_.hidden[i];
      }
      head.child("hidden", hidden.build(chain + "return x"));
      body += "x = self.hidden.forward(x)\n";
    }
    head.child("fc", linear(width, o_.classes, generator, beside));
    return head.build(body + dropout() + "return self.fc.forward(x)");
  }

 private:
  std::string dropout() const {
    return o_.dropout > 0 ? "x = torch.dropout(x, " + std::to_string(o_.dropout) + ", self.training)\n" : "";
  }

  const char* activation() const {
    switch (o_.activation) {
      case Activation::kRelu:
        return "relu";
      case Activation::kGelu:
        return "gelu";
      case Activation::kTanh:
        return "tanh";
    }
    return "relu";
  }

  graph::Network linear(std::int64_t in, std::int64_t out, const at::Generator& generator,
                        const graph::Network& beside) const {
    const double torch_bound = 1 / std::sqrt(static_cast<double>(in));
    const bool keras = o_.initializer == Initializer::kKeras;
    const double bound = keras ? std::sqrt(6.0 / static_cast<double>(in + out)) : torch_bound;
    auto weight = at::empty({out, in}, at::kFloat).uniform_(-bound, bound, generator);
    auto bias = keras ? at::zeros({out}, at::kFloat) : at::empty({out}, at::kFloat).uniform_(-bound, bound, generator);
    return graph::NetworkBuilder("Linear", beside)
        .parameter("weight", std::move(weight))
        .parameter("bias", std::move(bias))
        .build("return torch.linear(x, self.weight, self.bias)");
  }

  heads::MlpOptions o_;
};

}  // namespace

namespace heads {

Head linear(const LinearOptions& options) {
  return mlp({.hidden = {},
              .classes = options.classes,
              .dropout = options.dropout,
              .initializer = options.initializer,
              .seed = options.seed});
}

Head mlp(const MlpOptions& options) { return Head(std::make_shared<Dense>(options)); }

Head parse(std::string_view text, std::int64_t classes, std::uint64_t seed, Initializer initializer) {
  MlpOptions options{.hidden = {}, .classes = classes, .initializer = initializer, .seed = seed};
  if (text == "linear") return mlp(options);
  if (!text.starts_with("mlp:"))
    throw Error(ErrorCode::kConfig,
                "head: expected linear or mlp:WIDTH[,WIDTH...], found \"" + std::string(text) + "\"");
  for (const auto& width : base::split(text.substr(4), ','))
    options.hidden.push_back(base::parse_integer(width, "width of a hidden layer"));
  check(!options.hidden.empty(), "a width behind mlp:", 0);
  return mlp(options);
}

}  // namespace heads
}  // namespace graft
