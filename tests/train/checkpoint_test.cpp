#include "train/checkpoint.h"

#include <cstdlib>
#include <random>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <graft/head.h>
#include <graft/model.h>
#include <graft/trainer.h>

#include "base/safetensors.h"
#include "support/drawn_dataset.h"
#include "support/expect_error.h"
#include "support/files.h"
#include "support/scratch.h"
#include "train/optimizer.h"
#include "train/weights.h"

namespace graft::train {
namespace {

using graft::testing::Scratch;
using graft::testing::slurp;

const std::map<std::string, std::string> kSettings{{"seed", "7"}};

RunState state_of(std::int64_t step) {
  RunState state;
  state.set("step", step);
  state.tensors["weights/fc"] = at::full({64, 128}, static_cast<float>(step));
  return state;
}

class Checkpoint : public ::testing::Test {
 protected:
  Scratch scratch_;
  std::string warnings_;

  std::filesystem::path file(int number) const {
    return scratch_ / ("run/checkpoint-" + std::to_string(number) + ".safetensors");
  }
  CheckpointFiles open(bool resume = true) {
    return CheckpointFiles({.directory = scratch_ / "run", .resume = resume},
                           [this](std::string_view text) { warnings_ += text; });
  }
  /// Of the newest one; -1 for none.
  std::int64_t step(const std::map<std::string, std::string>& settings = kSettings) {
    const auto state = open().newest(settings);
    return state ? state->integer("step") : -1;
  }
  /// Two generations, of steps 1 and 2; the second is checkpoint-0.
  void write_two() {
    auto files = open(false);
    files.write(state_of(1), kSettings);
    files.write(state_of(2), kSettings);
  }
  /// Changes what the newer one says of itself, and its checksum with it.
  void rewrite(const std::function<void(base::Safetensors&)>& change) {
    auto content = base::read_own_safetensors(file(0));
    change(content);
    base::write_safetensors(file(0), content);
  }
};

TEST_F(Checkpoint, TheNewerOfTwoIsTaken) {
  EXPECT_EQ(step(), -1);
  write_two();
  EXPECT_EQ(step(), 2);
  std::filesystem::remove(file(0));
  EXPECT_EQ(step(), 1);
}

TEST_F(Checkpoint, Case85CutOffAnywhereTheOneBeforeIsTaken) {
  write_two();
  const auto whole = slurp(file(0));
  for (std::size_t size = 0; size < whole.size(); size += 4096) {
    std::filesystem::resize_file(file(0), size);
    EXPECT_EQ(step(), 1) << size;
    EXPECT_NE(warnings_.find("checkpoint-0.safetensors: not a whole safetensors file"), std::string::npos);
    warnings_.clear();
    scratch_.write("run/checkpoint-0.safetensors", whole);
  }
  EXPECT_EQ(step(), 2);
  EXPECT_EQ(warnings_, "");
  std::filesystem::resize_file(file(0), 10);
  std::filesystem::resize_file(file(1), 10);
  EXPECT_EQ(step(), -1);
}

TEST_F(Checkpoint, EveryBitFlipIsDetected) {
  write_two();
  const auto whole = slurp(file(0));
  std::mt19937 random(5);
  const char* many = std::getenv("GRAFT_BIT_FLIPS");  // docs/reliability.md
  const int flips = many ? std::atoi(many) : 500;
  for (int i = 0; i < flips; ++i) {
    auto changed = whole;
    const auto bit = std::uniform_int_distribution<std::size_t>(0, 8 * whole.size() - 1)(random);
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
    scratch_.write("run/checkpoint-0.safetensors", changed);
    ASSERT_EQ(step(), 1) << "bit " << bit;
  }
}

TEST_F(Checkpoint, Case89ANewerSchemaIsRefused) {
  write_two();
  rewrite([](base::Safetensors& content) { content.metadata["graft_checkpoint"] = "3"; });
  EXPECT_GRAFT_ERROR(step(), kMismatch, "format 2 or before, found 3");
}

TEST_F(Checkpoint, OneThatDoesNotSayAllOfItsRunIsRefused) {
  write_two();
  rewrite([](base::Safetensors& content) { content.metadata["graft_checkpoint"] = "1"; });
  EXPECT_GRAFT_ERROR(step(), kMismatch, "format 2 or later, found 1, which does not say all");
}

TEST_F(Checkpoint, Case90AnotherRunsSettingsAreRefusedByName) {
  write_two();
  EXPECT_GRAFT_ERROR(step({{"seed", "8"}, {"head", "mlp"}}), kMismatch,
                     "head: it had none, here mlp; seed: it had 7, here 8");
}

TEST_F(Checkpoint, TextsThatAreNotUtf8AreKeptAsTheyAre) {
  auto state = state_of(1);
  const std::map<std::string, std::string> texts{
      {"name", "gr\xfcn.png"}, {"percent", "100 % gr\xc3\xbcn"}, {"both", "100 % \xff%fc\x80"}};
  for (const auto& [name, text] : texts) state.values[name] = text;
  const std::map<std::string, std::string> settings{{"folder", "/tmp/\xe4"}};
  open(false).write(state, settings);
  const auto found = open().newest(settings);
  ASSERT_TRUE(found) << warnings_;
  for (const auto& [name, text] : texts) EXPECT_EQ(found->text(name), text);
  EXPECT_GRAFT_ERROR(open().newest({{"folder", "/tmp/a"}}), kMismatch, "folder: it had /tmp/\xe4");

  state.tensors["\xff"] = at::zeros({1});
  EXPECT_GRAFT_ERROR(open().write(state, settings), kFormat, "expected names and texts in UTF-8");
}

TEST_F(Checkpoint, WhatIsMissingInAWholeOneIsNamed) {
  write_two();
  rewrite([](base::Safetensors& content) { content.metadata.erase("step"); });
  EXPECT_GRAFT_ERROR(step(), kFormat, "no \"step\"");
  EXPECT_GRAFT_ERROR((void)state_of(1).tensor("generator"), kFormat, "no \"generator\"");
  rewrite([](base::Safetensors& content) { content.metadata["step"] = "1x"; });
  EXPECT_GRAFT_ERROR(step(), kFormat, "\"step\" is no number: 1x");
}

TEST_F(Checkpoint, Case92AReadOnlyDirectoryIsFoundAtTheBeginning) {
  EXPECT_GRAFT_ERROR(CheckpointFiles({.directory = "/proc/graft"}, {}), kIo, "/proc/graft");
  if (::geteuid() != 0) GTEST_SKIP() << "the rest gives up root's rights, which this is not";
  std::filesystem::create_directory(scratch_ / "closed");
  ASSERT_EQ(::chmod(scratch_.path().c_str(), 0755), 0);
  const auto child = ::fork();
  if (child == 0) {  // no longer root: its writes are refused
    if (::setuid(65534) != 0) ::_exit(2);
    try {
      CheckpointFiles({.directory = scratch_ / "closed"}, {});
    } catch (const Error& error) {
      ::_exit(error.code() == ErrorCode::kIo && std::string(error.what()).find("closed") != std::string::npos ? 0 : 3);
    }
    ::_exit(4);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(Checkpoint, Case93KilledInASaveOneGenerationIsWhole) {
  const char* many = std::getenv("GRAFT_KILLS");  // docs/reliability.md
  const int kills = many ? std::atoi(many) : 30;
  std::mt19937 random(6);
  std::int64_t least = 0;
  int in_a_save = 0;
  for (int i = 0; i < kills; ++i) {
    const auto child = ::fork();
    if (child == 0) {
      auto files = open();
      const auto state = files.newest(kSettings);
      for (auto next = state ? state->integer("step") + 1 : 1;; ++next) files.write(state_of(next), kSettings);
    }
    ::usleep(std::uniform_int_distribution<unsigned>(500, 20'000)(random));
    ::kill(child, SIGKILL);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    for (const auto& entry : std::filesystem::directory_iterator(scratch_ / "run"))
      in_a_save += entry.path().string().find(".graft-tmp-") != std::string::npos;
    const auto now = step();
    EXPECT_GE(now, i == 0 ? -1 : least);
    least = now;
  }
  EXPECT_EQ(warnings_, "");  // both are whole always: the new one is written beside them
  EXPECT_GT(least, kills / 4);
  std::printf("[ measured ] %d kills, %d of them within a save; %lld saves, nothing lost\n", kills, in_a_save,
              static_cast<long long>(least));
}

TEST_F(Checkpoint, Case94TheSecondWriterIsRefused) {
  const auto first = open();
  EXPECT_GRAFT_ERROR(open(), kIo, "another process trains with these checkpoints");
}

// --- What is in them

TEST(CheckpointContent, Case86AnotherHeadsRunIsRefused) {
  const Scratch scratch;
  const auto fit = [&](const std::string& head, const std::string& backbone = "resnet_scripted.pt") {
    auto model =
        Model::load(graft::testing::golden("networks/" + backbone), {.preprocessing = Preprocessing::rescale_mode(32)});
    model.replace_head(heads::parse(head, 3, 0));
    model.freeze();
    const graft::testing::DrawnDataset data(6, 3);
    Trainer(model).fit(data, {.epochs = 1, .checkpoint = {.directory = scratch / "run", .resume = true}});
  };
  fit("linear");
  EXPECT_GRAFT_ERROR(fit("mlp:4"), kMismatch, "head: it had");
  EXPECT_GRAFT_ERROR(fit("linear", "vgg_scripted.pt"), kMismatch, "frozen weights: it had");
}

TEST(CheckpointContent, Case87MissingAndUnknownParametersAreListed) {
  const Weights model{{"a", at::zeros({2})}, {"b", at::zeros({2})}, {"c", at::zeros({2})}};
  EXPECT_GRAFT_ERROR(copy_into({{"a", at::ones({2})}, {"c", at::ones({3})}, {"d", at::ones({2})}}, model), kMismatch,
                     "missing \"b\"; not in this model \"d\"; of another shape \"c [3] for [2]\"");
  EXPECT_TRUE(at::equal(model.at("a"), at::zeros({2})));  // nothing is copied then
}

TEST(CheckpointContent, Case88TheOptimisersStateOfAnotherShapeIsRefused) {
  const auto optimizer = [](std::int64_t size) {
    auto parameter = at::zeros({size}).set_requires_grad(true);
    parameter.mutable_grad() = at::ones({size});
    return std::pair(Optimizer::create(Adam{}, Numerics::kTorch, {{parameter, "fc.weight", 1, std::nullopt}}),
                     parameter);
  };
  auto [small, small_parameter] = optimizer(2);
  small->step();
  auto [large, large_parameter] = optimizer(3);
  EXPECT_GRAFT_ERROR(large->set_state(small->state()), kMismatch, "fc.weight: expected [3], found [2]");
  EXPECT_GRAFT_ERROR(large->set_state({}), kMismatch, "fc.weight");
}

}  // namespace
}  // namespace graft::train
