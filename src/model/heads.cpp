#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <graft/error.h>
#include <graft/head.h>

#include "base/text.h"
#include "engine/runner.h"
#include "model/head_layers.h"
#include "model/head_recipe.h"

namespace graft {

Head::Head(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Head::~Head() = default;
std::string Head::describe() const { return impl_->describe(); }

namespace {

void check(bool fine, const std::string& what, double found) {
  if (!fine) throw Error(ErrorCode::kConfig, "head: expected " + what + ", found " + base::shortest(found));
}

void check_outputs(std::int64_t outputs) {
  check(outputs > 0, "at least one class (or label, or output)", static_cast<double>(outputs));
}

/// Dense layers, one behind the other, on pooled features.
class Dense : public Head::Impl {
 public:
  Dense(heads::MlpOptions options, Task task) : o_(std::move(options)), task_(std::move(task)) {
    check_outputs(o_.classes);
    task_.outputs = o_.classes;
    for (const auto width : o_.hidden) check(width > 0, "hidden widths above 0", static_cast<double>(width));
    check(o_.dropout >= 0 && o_.dropout < 1, "dropout in [0, 1)", o_.dropout);
  }

  std::string describe() const override {
    std::string text = o_.hidden.empty() ? "linear" : "mlp:";
    for (std::size_t i = 0; i < o_.hidden.size(); ++i) text += (i ? "," : "") + std::to_string(o_.hidden[i]);
    return model::with_pooling(o_.pooling, text);
  }

  BuiltHead build(const std::vector<std::int64_t>& shape, const graph::Network& beside) const override {
    const model::Initialisation init(o_.initializer, o_.seed);
    const auto pooled = model::pool(o_.pooling, shape, init, beside);
    graph::NetworkBuilder head("Head", beside);
    head.child("pool", pooled.network);
    std::string body = "x = self.pool.forward(x)\n";
    std::int64_t width = pooled.width;
    if (!o_.hidden.empty()) {
      graph::NetworkBuilder hidden("Hidden", beside);
      std::string chain;
      for (std::size_t i = 0; i < o_.hidden.size(); ++i) {
        const std::string name = "fc" + std::to_string(i + 1);
        hidden.child(name, model::linear(width, o_.hidden[i], init, beside));
        chain += dropout() + "x = torch." + activation() + "(self." + name + ".forward(x))\n";
        width = o_.hidden[i];
      }
      head.child("hidden", hidden.build(chain + "return x"));
      body += "x = self.hidden.forward(x)\n";
    }
    head.child("fc", model::linear(width, o_.classes, init, beside));
    return {head.build(body + dropout() + "return self.fc.forward(x)"), {task_}};
  }

 private:
  std::string dropout() const {
    return o_.dropout > 0 ? "x = torch.dropout(x, " + base::shortest(o_.dropout) + ", self.training)\n" : "";
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

  heads::MlpOptions o_;
  Task task_;
};

class Cosine : public Head::Impl {
 public:
  explicit Cosine(const heads::CosineOptions& options) : o_(options) {
    check_outputs(o_.classes);
    check(o_.scale > 0 && std::isfinite(o_.scale), "a scale above 0", o_.scale);
  }

  std::string describe() const override { return model::with_pooling(o_.pooling, "cosine"); }

  BuiltHead build(const std::vector<std::int64_t>& shape, const graph::Network& beside) const override {
    const model::Initialisation init(Initializer::kTorch, o_.seed);
    const auto pooled = model::pool(o_.pooling, shape, init, beside);
    const auto fc = graph::NetworkBuilder("Cosine", beside)
                        .parameter("weight", init.weight(pooled.width, o_.classes))
                        .parameter("scale", at::full({}, o_.scale, at::kFloat))
                        .build(
                            "x = x / torch.clamp(torch.norm(x, 2, [1], True), 1e-12)\n"
                            "w = self.weight / torch.clamp(torch.norm(self.weight, 2, [1], True), 1e-12)\n"
                            "return self.scale * torch.linear(x, w)");
    return {graph::NetworkBuilder("Head", beside)
                .child("pool", pooled.network)
                .child("fc", fc)
                .build("return self.fc.forward(self.pool.forward(x))"),
            {Task{.outputs = o_.classes}}};
  }

 private:
  heads::CosineOptions o_;
};

class Ensemble : public Head::Impl {
 public:
  explicit Ensemble(std::vector<heads::Member> members) : members_(std::move(members)) {
    check(!members_.empty(), "at least one member", 0);
    std::set<std::string> names;
    for (const auto& [name, head, weight] : members_) {
      const auto is_word = [](char c) { return base::is_letter_or_digit(c) || c == '_'; };
      if (name.empty() || base::is_digit(name[0]) || !std::all_of(name.begin(), name.end(), is_word) ||
          !names.insert(name).second)
        throw Error(
            ErrorCode::kConfig,
            "head: expected a name of its own for each member, made of letters, digits and _, found \"" + name + "\"");
      check(weight > 0 && std::isfinite(weight), "a weight above 0", weight);
    }
  }

  std::string describe() const override {
    std::string text;
    for (const auto& member : members_)
      text += (text.empty() ? "ensemble(" : ",") + member.name + "=" + member.head.describe();
    return text + ")";
  }

  BuiltHead build(const std::vector<std::int64_t>& shape, const graph::Network& beside) const override {
    graph::NetworkBuilder head("Ensemble", beside);
    std::vector<Task> tasks;
    std::string outputs;
    for (const auto& member : members_) {
      auto built = build_head(member.head, shape, beside);
      head.child(member.name, built.network);
      outputs += (outputs.empty() ? "" : ", ") + ("self." + member.name + ".forward(x)");
      for (auto& task : built.tasks) {
        task.name = task.name.empty() ? member.name : member.name + "." + task.name;
        task.weight *= member.weight;
        tasks.push_back(std::move(task));
      }
    }
    return {head.build("return torch.cat([" + outputs + "], 1)"), std::move(tasks)};
  }

 private:
  std::vector<heads::Member> members_;
};

}  // namespace

BuiltHead build_head(const Head& head, const std::vector<std::int64_t>& shape, const graph::Network& beside) {
  auto built = head.impl().build(shape, beside);
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorCode::kMismatch, "head \"" + head.describe() + "\": " + what);
  };
  if (built.network.named_parameters().empty())
    refuse(
        "it has no parameters, so there is nothing to train; register its layers (register_module, "
        "register_parameter)");
  const at::NoGradGuard no_grad;
  const auto output = engine::Runner(built.network).run(at::zeros(shape, at::kFloat));
  if (output.dim() != 2 || output.size(0) != shape[0] || output.scalar_type() != at::kFloat)
    refuse(c10::str("expected outputs [N, outputs] of float32, found ", output.sizes(), " of ", output.scalar_type(),
                    " for features ", at::IntArrayRef(shape),
                    "; end it with flatten(1) or a pooling and a dense layer"));
  if (built.tasks.size() == 1 && built.tasks.front().outputs == 0) built.tasks.front().outputs = output.size(1);
  return built;
}

namespace heads {

Head linear(const LinearOptions& o) {
  return mlp({.hidden = {},
              .classes = o.classes,
              .dropout = o.dropout,
              .initializer = o.initializer,
              .seed = o.seed,
              .pooling = o.pooling});
}

Head mlp(const MlpOptions& options) { return Head(std::make_shared<Dense>(options, Task{})); }

Head multi_label(const MultiLabelOptions& o) {
  return Head(
      std::make_shared<Dense>(MlpOptions{o.hidden, o.labels, o.activation, o.dropout, o.initializer, o.seed, o.pooling},
                              Task{.kind = TaskKind::kMultiLabel}));
}

Head regression(const RegressionOptions& o) {
  return Head(std::make_shared<Dense>(
      MlpOptions{o.hidden, o.outputs, o.activation, o.dropout, o.initializer, o.seed, o.pooling},
      Task{.kind = TaskKind::kRegression, .loss = o.loss}));
}

Head cosine(const CosineOptions& options) { return Head(std::make_shared<Cosine>(options)); }

Head ensemble(std::vector<Member> members) { return Head(std::make_shared<Ensemble>(std::move(members))); }

Head parse(std::string_view text, std::int64_t classes, std::uint64_t seed, Initializer initializer) {
  MlpOptions options{.hidden = {}, .classes = classes, .initializer = initializer, .seed = seed};
  std::string_view kind = text;
  if (const auto plus = text.find('+'); plus != std::string_view::npos) {
    const auto pooling = model::find_pooling(text.substr(0, plus));
    if (!pooling)
      throw Error(ErrorCode::kConfig,
                  "head: expected average, max, average_max, gem or attention before the \"+\", found \"" +
                      std::string(text.substr(0, plus)) + "\"");
    options.pooling = *pooling;
    kind = text.substr(plus + 1);
  }
  if (kind == "linear") return mlp(options);
  if (kind == "cosine") return cosine({.classes = classes, .seed = seed, .pooling = options.pooling});
  if (!kind.starts_with("mlp:"))
    throw Error(ErrorCode::kConfig,
                "head: expected linear, cosine or mlp:WIDTH[,WIDTH...], found \"" + std::string(kind) + "\"");
  for (const auto& width : base::split(kind.substr(4), ','))
    options.hidden.push_back(base::parse_integer(width, "width of a hidden layer"));
  check(!options.hidden.empty(), "a width behind mlp:", 0);
  return mlp(options);
}

}  // namespace heads
}  // namespace graft
