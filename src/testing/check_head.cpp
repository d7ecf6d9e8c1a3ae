#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include <stdlib.h>
#include <unistd.h>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <graft/testing.h>

#include "base/check.h"
#include "base/normal_mode.h"
#include "base/seeded_generator.h"
#include "base/text.h"
#include "base/torch_device.h"
#include "base/translate.h"
#include "train/objective.h"
#include "train/optimizer.h"

namespace graft {

namespace {

using Tensors = std::map<std::string, at::Tensor>;

Tensors all_tensors(const Model& model) {
  auto tensors = model.named_parameters();
  tensors.merge(model.named_buffers());
  return tensors;
}

Tensors copied(const Tensors& tensors) {
  Tensors copies;
  for (const auto& [name, tensor] : tensors) copies[name] = tensor.detach().clone();
  return copies;
}

/// Names of what is there or has a value in one of them only.
std::vector<std::string> changed(const Tensors& before, const Tensors& after) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : before) {
    const auto it = after.find(name);
    if (it == after.end() || !at::equal(tensor.to(at::kCPU), it->second.detach().to(at::kCPU))) names.push_back(name);
  }
  for (const auto& [name, tensor] : after)
    if (!before.contains(name)) names.push_back(name);
  return names;
}

bool is_statistic(const std::string& name) {
  return name.ends_with(".running_mean") || name.ends_with(".running_var") || name.ends_with(".num_batches_tracked");
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kCPU) - b.to(at::kCPU)).abs().max().item<double>();
}

std::string number(double value) { return c10::str(value); }

/// A file that is removed at the end.
class TemporaryFile {
 public:
  TemporaryFile() : path_((std::filesystem::temp_directory_path() / "graft-head-XXXXXX").string()) {
    const int descriptor = ::mkstemp(path_.data());
    if (descriptor < 0) throw Error(ErrorCode::kIo, path_ + ": cannot create a temporary file");
    ::close(descriptor);
  }
  ~TemporaryFile() { ::unlink(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class HeadCheck {
 public:
  explicit HeadCheck(const HeadCheckOptions& options)
      : o_(options),
        model_(tiny_model(options.features, options.seed)),
        generator_(at::detail::createCPUGenerator(o_.seed)) {}

  HeadReport run(const Head& head) {
    if (!passes(
            "build", [&] { model_.replace_head(head, Cut::before("fc")); }, "the message: it names what does not fit"))
      return std::move(report_);
    model_.freeze();
    const std::string hash = model_.frozen_hash();
    passes("output", [&] { check_output(); }, "pooling and flattening: every size but the batch's must be fixed");
    passes("evaluation", [&] { check_evaluation(); }, "forward in evaluation mode");
    passes("training", [&] { check_training(); }, "forward in training mode");
    passes("gradients", [&] { check_gradients(); }, "detach(), argmax and other operations without a gradient");
    passes("overfit", [&] { check_overfit(); }, "the learning rate and the last layer");
    model_.eval();
    if (model_.frozen_hash() != hash)
      add("frozen", "frozen tensors changed while the head was trained",
          "a head that writes into its features in place, or into tensors of others");
    passes("save", [&] { check_save(); }, "what the head does beside its registered tensors");
    passes("device", [&] { check_device(); }, "tensors made in forward on a device of their own");
    return std::move(report_);
  }

 private:
  void add(std::string check, std::string seen, std::string look_at) {
    report_.findings.push_back({std::move(check), std::move(seen), std::move(look_at)});
  }

  /// A check that throws has failed.
  bool passes(const char* name, const std::function<void()>& check, const char* look_at) {
    try {
      check();
      return true;
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kIo || !base::is_about_input(error.code())) throw;  // not the head's fault
      add(name, error.what(), look_at);
      return false;
    }
  }

  /// Pictures that differ in colour as a whole, and in detail. With other values the next time.
  at::Tensor pictures(std::int64_t n) {
    const auto& p = model_.preprocessing();
    const auto colour = at::randn({n, 3, 1, 1}, generator_, at::kFloat);
    return colour + at::randn({n, 3, p.crop_height_px, p.crop_width_px}, generator_, at::kFloat);
  }

  /// What there is to learn about n pictures, as train::Objective takes it: different for neighbours.
  at::Tensor targets(std::int64_t n) {
    std::vector<at::Tensor> parts;
    for (const auto& task : model_.tasks()) {
      const auto order = at::arange(n, at::kLong);
      if (task.kind == TaskKind::kSingleLabel) {
        parts.push_back(at::one_hot(order.remainder(task.outputs), task.outputs).to(at::kFloat));
      } else if (task.kind == TaskKind::kMultiLabel) {
        parts.push_back(at::randint(2, {n, task.outputs}, generator_, at::kFloat));
      } else {
        parts.push_back(at::randn({n, task.outputs}, generator_, at::kFloat));
      }
    }
    return at::cat(parts, 1);
  }

  void check_output() {
    for (const auto n : o_.batch_sizes) {
      const auto output = model_.forward(pictures(n));
      const auto outputs = o_.outputs > 0 ? o_.outputs : model_.num_classes();
      if (output.sizes() != at::IntArrayRef({n, outputs}))
        add("output", c10::str("for a batch of ", n, " expected [", n, ", ", outputs, "], found ", output.sizes()),
            "the last layer's width, and reshapes that take in the batch");
      for (const auto& [what, x] : {std::pair("random features", pictures(n)), std::pair("features 0", zeros(n)),
                                    std::pair("features 1000 times as large", pictures(n) * 1000)})
        if (!model_.forward(x).isfinite().all().item<bool>())
          add("output", c10::str("not finite for ", what, " in a batch of ", n),
              "divisions, logarithms and roots of what may be 0: add a small number or clamp");
    }
  }

  at::Tensor zeros(std::int64_t n) {
    const auto& p = model_.preprocessing();
    return at::zeros({n, 3, p.crop_height_px, p.crop_width_px}, at::kFloat);
  }

  void check_evaluation() {
    const auto x = pictures(6);
    const auto before = copied(all_tensors(model_));
    const auto first = model_.forward(x), second = model_.forward(x);
    if (!at::equal(first, second))
      add("evaluation", "two runs on the same pictures differ by up to " + number(largest_difference(first, second)),
          "dropout or noise that does not ask is_training()");
    const auto alone = model_.forward(x.narrow(0, 2, 1));
    const double difference = largest_difference(first.narrow(0, 2, 1), alone);
    if (difference > 1e-4 * std::max(1.0, alone.abs().max().item<double>()))
      add("evaluation", "an example's answer differs by " + number(difference) + " alone and in a batch of 6",
          "operations over dimension 0: batch statistics in evaluation mode, means over all examples");
    if (const auto names = changed(before, all_tensors(model_)); !names.empty())
      add("evaluation", "running it changed " + base::list_names(names),
          "in-place operations on parameters or buffers outside of training");
  }

  void check_training() {
    const auto x = pictures(6);
    const auto evaluated = model_.forward(x);
    const auto before = copied(all_tensors(model_));
    const auto train_with = [&](std::uint64_t seed) {
      const base::SeededGenerator generator(base::to_torch(model_.device()), seed);
      return model_.forward(x).detach();
    };
    model_.train();
    const auto first = train_with(1);
    const bool random = !at::equal(first, train_with(2));
    model_.eval();
    auto names = changed(before, all_tensors(model_));
    const bool has_statistics = model_.uses_batch_statistics();
    std::erase_if(names, is_statistic);
    if (!names.empty())
      add("training", "running it changed " + base::list_names(names),
          "in-place operations in forward: only an optimiser may change parameters");
    const double difference = largest_difference(first, evaluated);
    if (!random && !has_statistics && difference > 1e-4 * std::max(1.0, evaluated.abs().max().item<double>()))
      add("training",
          "without randomness and without batch norm the answers differ by up to " + number(difference) +
              " from those of evaluation mode",
          "what forward does under is_training()");
    put_back(before);
  }

  void put_back(const Tensors& values) {
    const at::NoGradGuard no_grad;
    for (auto& [name, tensor] : all_tensors(model_)) at::Tensor(tensor).copy_(values.at(name));
  }

  void check_gradients() {
    const auto before = copied(all_tensors(model_));
    std::map<std::string, double> largest;
    model_.train();
    for (int batch = 0; batch < 2; ++batch) {
      const train::Objective objective(model_.tasks(), 0);
      const at::AutoGradMode with_gradients(true);
      const auto x = pictures(6);
      objective.loss(model_.forward(x), targets(6)).backward();
      for (const auto& [name, tensor] : model_.named_parameters()) {
        const bool is_trained = tensor.requires_grad();
        if (!is_trained && tensor.grad().defined())
          add("gradients", "the frozen \"" + name + "\" has a gradient", "please report this: freezing failed");
        if (!is_trained) continue;
        auto& most = largest.try_emplace(name, -1).first->second;
        if (tensor.grad().defined()) most = std::max(most, tensor.grad().abs().max().item<double>());
        at::Tensor(tensor).mutable_grad().reset();
      }
    }
    model_.eval();
    put_back(before);
    for (const auto& [name, most] : largest) {
      if (most < 0)
        add("gradients", "none reaches \"" + name + "\"",
            "a layer that is registered and not used in forward, or used under detach() or NoGradGuard");
      else if (!(most > 0))
        add("gradients", "that of \"" + name + "\" is 0 everywhere",
            "activations that are always off, a factor of 0, a softmax over one element");
      else if (!std::isfinite(most))
        add("gradients", "that of \"" + name + "\" is not finite",
            "roots and divisions at 0: their gradient is infinite there");
    }
  }

  void check_overfit() {
    const auto x = pictures(o_.overfit_examples), wanted = targets(o_.overfit_examples);
    const train::Objective objective(model_.tasks(), 0);
    const auto evaluate = [&] {
      const at::NoGradGuard no_grad;
      return objective.loss(model_.forward(x), wanted).item<double>();
    };
    report_.first_loss = report_.overfit_loss = evaluate();
    std::vector<train::Optimizer::Parameter> parameters;
    for (const auto& [name, tensor] : model_.trainable_parameters()) parameters.push_back({tensor, name});
    const auto optimizer =
        train::Optimizer::create(Adam{.learning_rate = o_.learning_rate}, Numerics::kTorch, std::move(parameters));
    const double goal = o_.overfit_fraction * report_.first_loss;
    const base::SeededGenerator generator(base::to_torch(model_.device()), o_.seed);
    constexpr std::int64_t kStepsBetween = 10;
    for (std::int64_t step = 1; step <= o_.overfit_steps && report_.overfit_loss > goal; ++step) {
      model_.train();
      const at::AutoGradMode with_gradients(true);
      objective.loss(model_.forward(x), wanted).backward();
      optimizer->step();
      optimizer->zero_grad();
      model_.eval();
      if (step % kStepsBetween == 0 || step == o_.overfit_steps) report_.overfit_loss = evaluate();
    }
    if (!(report_.overfit_loss <= goal))
      add("overfit",
          c10::str("after ", o_.overfit_steps, " steps on ", o_.overfit_examples, " examples the loss is ",
                   report_.overfit_loss, ", at first it was ", report_.first_loss, "; expected ", goal, " or less"),
          "an activation behind the last layer (softmax and sigmoid belong to the loss), features lost on the way, too "
          "much dropout, or raise overfit_steps or learning_rate");
  }

  void check_save() {
    const TemporaryFile file;
    std::filesystem::remove(file.path());
    model_.save(file.path());
    const auto loaded = Model::load(file.path());
    const auto x = pictures(3);
    if (const auto names = changed(copied(all_tensors(model_)), all_tensors(loaded)); !names.empty())
      add("save", "after saving and loading, other or missing: " + base::list_names(names),
          "names with dots, shared tensors");
    const auto before = model_.forward(x), after = loaded.forward(x);
    if (!at::equal(before, after))
      add("save", "the loaded model's answers differ by up to " + number(largest_difference(before, after)),
          "what the head does beside its registered tensors");
  }

  void check_device() {
    const auto x = pictures(3);
    const auto before = model_.forward(x);
    model_.to(o_.device);
    const auto there = model_.forward(x);
    const double difference = largest_difference(before, there);
    if (difference > 1e-3 * std::max(1.0, before.abs().max().item<double>()))
      add("device", "on " + o_.device.str() + " the answers differ by up to " + number(difference),
          "operations that depend on the device");
    model_.to(Device::cpu());
    if (!at::equal(before, model_.forward(x)))
      add("device", "back from " + o_.device.str() + " the answers are not the same bit by bit",
          "tensors that did not travel: register them as parameters or buffers");
  }

  HeadCheckOptions o_;
  HeadReport report_;
  Model model_;
  at::Generator generator_;
};

void check_options(const HeadCheckOptions& o) {
  const auto positive = [](const char* option, std::int64_t found) {
    base::require(found >= 1, std::string("head check: ") + option, "1 or more", found);
  };
  for (const auto n : o.batch_sizes) positive("batch_sizes", n);
  positive("overfit_examples", o.overfit_examples);
  positive("overfit_steps", o.overfit_steps);
  base::require(o.learning_rate > 0 && std::isfinite(o.learning_rate), "head check: learning_rate", "a number above 0",
                o.learning_rate);
  base::require(o.overfit_fraction > 0 && o.overfit_fraction < 1, "head check: overfit_fraction", "between 0 and 1",
                o.overfit_fraction);
}

}  // namespace

std::string HeadReport::text() const {
  if (ok()) return "all checks passed";
  std::string text;
  for (const auto& [check, seen, look_at] : findings)
    text += (text.empty() ? "" : "\n") + check + ": " + seen + "; look at: " + look_at;
  return text;
}

HeadReport check_head(const Head& head, const HeadCheckOptions& options) {
  return base::translated("checking a head", [&] {
    const base::NormalMode normal;
    check_options(options);
    return HeadCheck(options).run(head);
  });
}

}  // namespace graft
