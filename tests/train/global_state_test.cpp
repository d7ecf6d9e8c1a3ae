// The library is a guest in its process: what belongs to the process is as it was, whatever was called and however it
// ended, and nothing is printed.
#include <cfenv>
#include <clocale>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <c10/core/Allocator.h>
#include <c10/core/DefaultDtype.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <graft/head.h>
#include <graft/loader.h>
#include <graft/trainer.h>

#include "support/drawn_dataset.h"
#include "support/expect_error.h"
#include "support/files.h"
#include "support/scratch.h"

namespace graft {
namespace {

using graft::testing::DrawnDataset;
using graft::testing::golden;
using graft::testing::Scratch;

/// By name, as text.
std::map<std::string, std::string> process_state() {
  std::map<std::string, std::string> state;
  const auto number = [&](const std::string& name, auto value) { state[name] = std::to_string(value); };
  number("threads", at::get_num_threads());
  number("interop threads", at::get_num_interop_threads());
  number("default type", static_cast<int>(c10::get_default_dtype_as_scalartype()));
  number("gradients", c10::GradMode::is_enabled());
  number("inference mode", c10::InferenceMode::is_enabled());
  number("autocast", at::autocast::is_autocast_enabled(at::kCPU));
  number("autocast cache", at::autocast::is_autocast_cache_enabled());
  number("deterministic", at::globalContext().deterministicAlgorithms());
  number("cuDNN benchmarks", at::globalContext().benchmarkCuDNN());
  number("oneDNN", at::globalContext().userEnabledMkldnn());
  number("allocator", reinterpret_cast<std::uintptr_t>(c10::GetAllocator(c10::kCPU)));
  number("warning handler", reinterpret_cast<std::uintptr_t>(c10::WarningUtils::get_warning_handler()));
  number("rounding", std::fegetround());
  const auto generator = at::detail::getDefaultCPUGenerator().get_state();
  state["generator"] = std::string(static_cast<const char*>(generator.const_data_ptr()), generator.nbytes());
  state["locale"] = std::setlocale(LC_ALL, nullptr);
  state["working directory"] = std::filesystem::current_path();
  for (int signal = 1; signal < NSIG; ++signal) {
    struct sigaction action{};
    if (::sigaction(signal, nullptr, &action) == 0)
      number("signal " + std::to_string(signal), reinterpret_cast<std::uintptr_t>(action.sa_handler));
  }
  for (char** variable = environ; *variable; ++variable) state["environment"] += std::string(*variable) + "\n";
  return state;
}

/// Runs what is given and compares.
template <class Function>
void expect_a_guest(const char* what, const Function& function) {
  SCOPED_TRACE(what);
  const auto before = process_state();
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  function();
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  const auto after = process_state();
  for (const auto& [name, value] : before) EXPECT_TRUE(after.at(name) == value) << name;
}

Model load(const std::string& name = "resnet_scripted") {
  return Model::load(golden("networks/" + name + ".pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
}

TEST(GlobalState, IsLeftAsItWas) {
  // What LibTorch and OpenMP set up when they are first used is theirs.
  load().forward(at::zeros({2, 3, 32, 32}));
  const Scratch scratch;
  const DrawnDataset train(24, 3), val(12, 3, 32, 9);

  expect_a_guest("loading and answering", [&] {
    const auto model = load();
    model.classify(train.image(0));
    model.classify(train.image(0), {.precision = Precision::kAuto});
    model.embed(at::zeros({1, 3, 32, 32}));
  });
  expect_a_guest("recording a head, saving", [&] {
    auto model = load();
    model.replace_head(heads::mlp({.hidden = {8}, .classes = 3, .dropout = 0.5}));
    model.train();  // a forward pass would draw its dropout from the process's generator, as PyTorch's does
    model.eval();
    model.save(scratch / "saved.pt");
    Model::load(scratch / "saved.pt");
  });
  expect_a_guest("training", [&] {
    auto model = load();
    model.replace_head(heads::mlp({.hidden = {8}, .classes = 3, .dropout = 0.5}));
    model.freeze_until("layer2");
    DrawnDataset augmented(24, 3);
    augmented.changes = {.zoom = 0.2, .horizontal_flip = true};
    Trainer trainer(model, {.precision = Precision::kBFloat16, .ema_decay = 0.9, .mixup_alpha = 0.2});
    trainer.fit(augmented, val,
                {.epochs = 2, .batch_size = 8, .checkpoint = {.directory = scratch / "run", .every_steps = 2}});
    trainer.restore_best();
    trainer.evaluate(val, {.tta = {.horizontal_flip = true}});
  });
  expect_a_guest("failing", [&] {
    auto model = load();
    EXPECT_GRAFT_ERROR(load("not_a_number"), kNumeric, "");
    EXPECT_GRAFT_ERROR(Model::load(scratch / "missing.pt"), kIo, "");
    EXPECT_GRAFT_ERROR(model.forward(at::zeros({1, 1, 1, 1})), kMismatch, "");
    EXPECT_GRAFT_ERROR(Image::read(scratch.write("x.jpg", "no picture")), kFormat, "");
    model.train();
    EXPECT_GRAFT_ERROR(model.classify(train.image(0)), kConfig, "");
    model.eval();
    DrawnDataset damaged(24, 5);
    damaged.bad = {17};
    EXPECT_GRAFT_ERROR(Trainer(model).fit(damaged, {.epochs = 1, .batch_size = 8}), kFormat, "planted");
  });
}

}  // namespace
}  // namespace graft
