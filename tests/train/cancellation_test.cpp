// Long calls end soon after they are told to, and leave what they worked on as it can be used.
#include <graft/cancellation.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <thread>

#include <ATen/ops/rand.h>
#include <gtest/gtest.h>

#include <graft/doctor.h>
#include <graft/loader.h>
#include <graft/lr_finder.h>
#include <graft/quantize.h>
#include <graft/trainer.h>

#include "support/drawn_dataset.h"
#include "support/expect_error.h"
#include "support/files.h"
#include "support/scratch.h"

namespace graft {
namespace {

using Clock = std::chrono::steady_clock;
using graft::testing::DrawnDataset;
using graft::testing::golden;
using graft::testing::Scratch;
using namespace std::chrono_literals;

Model load() {
  return Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
}

/// Asks for a stop when picture `last` is read, and lets nobody wait for that.
class Stopping : public DrawnDataset {
 public:
  Stopping(std::size_t size, std::size_t last) : DrawnDataset(size, 3), last_(last) {}
  Image image(std::size_t i) const override {
    if (i == last_) source.request_stop();
    ++read;
    return DrawnDataset::image(i);
  }
  mutable std::stop_source source;
  mutable std::atomic<int> read = 0;

 private:
  std::size_t last_;
};

TEST(Cancellation, EveryLongCallEndsByItsDeadline) {
  const Scratch scratch;
  auto model = load();
  model.replace_head(heads::linear({.classes = 3}));
  const DrawnDataset train(24, 3), val(12, 3, 32, 9);
  const auto picture = train.image(0);
  const auto answer = model.forward(model.preprocess(std::span(&picture, 1)));
  model.save(scratch / "saved.pt");
  const auto hash = model.inspect().sha256;
  const std::map<std::string, std::function<void()>> calls{
      {"load", [&] { Model::load(scratch / "saved.pt"); }},
      {"classify", [&] { model.classify(picture); }},
      {"embed", [&] { model.embed(std::span(&picture, 1)); }},
      {"forward", [&] { model.forward(at::rand({1, 3, 32, 32}), Precision::kAuto); }},
      {"next batch", [&] { DataLoader(train, model.input()).next(); }},
      {"evaluate", [&] { Trainer(model).evaluate(val); }},
      {"find a learning rate", [&] { find_learning_rate(model, {}, train); }},
      {"quantize", [&] { quantize(model, train); }},
      {"examine", [&] { Doctor(model).examine_preprocessing(train); }},
      {"fit", [&] { Trainer(model).fit(train, val, {.batch_size = 8}); }},
  };
  for (const auto& [name, call] : calls) {
    SCOPED_TRACE(name);
    const CancellationScope past(Clock::now());
    EXPECT_GRAFT_ERROR(call(), kCancelled, "the deadline has passed");
  }
  EXPECT_TRUE(model.forward(model.preprocess(std::span(&picture, 1))).equal(answer));
  EXPECT_EQ(model.inspect().sha256, hash);
}

TEST(Cancellation, AFitEndsAfterAStepAndTheModelCanBeTrainedOn) {
  auto model = load();
  model.replace_head(heads::linear({.classes = 3}));
  model.freeze();
  const Stopping train(64, 30);
  {
    const CancellationScope scope(train.source.get_token());
    EXPECT_GRAFT_ERROR(Trainer(model).fit(train, {.epochs = 1'000'000, .batch_size = 8, .shuffle = false}), kCancelled,
                       "a stop was requested");
  }
  EXPECT_LT(train.read, 64);
  EXPECT_NO_THROW(Trainer(model).fit(DrawnDataset(64, 3), {.batch_size = 8}));
}

TEST(Cancellation, NobodyWaitsForAPictureThatTakesForever) {
  class Slow : public DrawnDataset {
   public:
    Slow() : DrawnDataset(8, 2) {}
    ~Slow() override { goes_on = true; }
    Image image(std::size_t i) const override {
      const auto enough = Clock::now() + 10s;
      while (!goes_on && Clock::now() < enough) std::this_thread::sleep_for(1ms);
      return DrawnDataset::image(i);
    }
    mutable std::atomic<bool> goes_on = false;
  };
  const Slow slow;
  DataLoader loader(slow, load().input(), {.batch_size = 8});
  const auto start = Clock::now();
  {
    const CancellationScope scope(start + 100ms);
    EXPECT_GRAFT_ERROR(loader.next(), kCancelled, "the deadline has passed");
  }
  EXPECT_LT(Clock::now() - start, 5s);
  slow.goes_on = true;
  EXPECT_EQ(loader.next()->size(), 8);  // and the loader goes on where it was
}

}  // namespace
}  // namespace graft
