// Whatever the system or the heap refuses in the middle of saving, and wherever the process is killed: what was there
// before or what was to be there is whole, the error is one that is documented, and the next save works.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <graft/files.h>
#include <graft/html_report.h>
#include <graft/model.h>
#include <graft/tensorboard.h>

#include "base/translate.h"
#include "faults/faults.h"
#include "support/files.h"
#include "support/scratch.h"
#include "train/checkpoint.h"
#include "train/feature_cache.h"

namespace graft::testing {
namespace {

namespace fs = std::filesystem;

// Where syncs take no time. What they are for, a power cut, nobody can test here.
[[maybe_unused]] const bool kInMemory =
    ::access("/dev/shm", W_OK) == 0 && ::setenv("TMPDIR", "/dev/shm", /*overwrite=*/1) == 0;

/// A folder in which something is saved over what was there.
class Saving {
 public:
  virtual ~Saving() = default;
  /// Puts what is there before.
  virtual void begin() = 0;
  /// False if it says in another way than by throwing that not all was saved.
  virtual bool save() = 0;
  /// "old" or "new", or what is wrong with what is there.
  virtual std::string found() = 0;

  const fs::path& folder() const { return scratch_.path(); }
  /// The names in it.
  std::set<std::string> names() const {
    std::set<std::string> found;
    for (const auto& entry : fs::recursive_directory_iterator(folder()))
      found.insert(entry.path().lexically_relative(folder()).string());
    return found;
  }

 protected:
  void clear() const {
    for (const auto& entry : fs::directory_iterator(folder())) fs::remove_all(entry.path());
  }
  Scratch scratch_;
};

/// One file that is written anew.
class SavingAFile : public Saving {
 public:
  /// `write` yields the file with its new content.
  explicit SavingAFile(std::function<void(const fs::path&)> write) : write_(std::move(write)) {
    write_(file_);
    new_ = slurp(file_);
  }
  void begin() override {
    clear();
    scratch_.write("file", "old");
  }
  bool save() override {
    write_(file_);
    return true;
  }
  std::string found() override {
    const auto content = slurp(file_);
    return content == "old" ? "old" : content == new_ ? "new" : std::to_string(content.size()) + " other bytes";
  }

 private:
  std::function<void(const fs::path&)> write_;
  const fs::path file_ = scratch_ / "file";
  std::string new_;
};

class SavingACheckpoint : public Saving {
 public:
  void begin() override {
    clear();
    train::CheckpointFiles files({.directory = folder()}, {});
    for (const int step : {1, 2}) files.write(state(step), kSettings);
  }
  bool save() override {
    return base::translated("training", [&] {  // as Trainer::fit does
      train::CheckpointFiles files({.directory = folder(), .resume = true}, {});
      (void)files.newest(kSettings);
      files.write(state(3), kSettings);
      return true;
    });
  }
  std::string found() override {
    std::string warnings;
    train::CheckpointFiles files({.directory = folder(), .resume = true},
                                 [&](std::string_view text) { warnings += text; });
    const auto newest = files.newest(kSettings);
    if (!warnings.empty()) return warnings;
    const auto step = newest ? newest->integer("step") : 0;
    if (step < 2 || !at::equal(newest->tensor("weights/fc"), state(step).tensor("weights/fc")))
      return "step " + std::to_string(step);
    return step == 2 ? "old" : "new";
  }

 private:
  const std::map<std::string, std::string> kSettings{{"seed", "7"}};

  static train::RunState state(std::int64_t step) {
    train::RunState state;
    state.set("step", step);
    state.tensors["weights/fc"] = at::full({64, 128}, static_cast<float>(step));
    return state;
  }
};

/// Rows in a feature cache: two are there, two more come.
class SavingFeatures : public Saving {
 public:
  void begin() override {
    clear();
    std::string warnings;
    cache(warnings)->insert(keys(0, 1), rows(0, 1));
  }
  bool save() override {
    return base::translated("training", [&] {
      std::string warnings;
      const auto opened = cache(warnings);
      return opened->insert(keys(2, 3), rows(2, 3)) && warnings.empty();
    });
  }
  std::string found() override {
    std::string warnings;
    const auto opened = cache(warnings);
    if (!warnings.empty()) return warnings;
    bool all = true;
    for (int row = 0; row < 4; ++row) {
      const bool there = opened->contains(keys(row, row)[0]);
      if (there && !at::equal(opened->rows(keys(row, row)), rows(row, row)))
        return "another row " + std::to_string(row);
      if (!there && row < 2) return "no row " + std::to_string(row);
      all = all && there;
    }
    return all ? "new" : "old";
  }

 private:
  std::unique_ptr<train::FeatureCache> cache(std::string& warnings) const {
    constexpr std::int64_t kRoom = 1 << 20;
    return std::make_unique<train::FeatureCache>(
        kRoom, std::make_unique<train::FeatureFile>(folder() / "cache", std::string(64, 'a'), kRoom,
                                                    [&](std::string_view text) { warnings += text; }));
  }
  static std::vector<std::string> keys(int first, int last) {
    std::vector<std::string> list;
    for (int i = first; i <= last; ++i) list.push_back(std::string(63, '0') + std::to_string(i));
    return list;
  }
  static at::Tensor rows(int first, int last) {
    return at::arange(first * 600, (last + 1) * 600, at::kFloat).view({-1, 20, 30});
  }
};

void check_error(const std::exception_ptr& failure, Resource resource) {
  const auto expected = resource == Resource::kSystem ? ErrorCode::kIo : ErrorCode::kOutOfMemory;
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    EXPECT_EQ(to_string(error.code()), to_string(expected)) << error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "not a graft::Error: " << error.what();
  }
}

/// What function() throws with this fault in force; null if nothing, and in `call` what was hit.
template <class Function>
std::exception_ptr failure_of(const Fault& fault, std::string& call, const Function& function) {
  std::exception_ptr failure;
  const Armed armed(fault);
  try {
    function();
  } catch (...) {
    failure = std::current_exception();
  }
  call = armed.call();
  return failure;
}

long descriptors() { return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator()); }

Report report() {
  History history;
  for (int i = 0; i < 2; ++i)
    history.epochs.push_back({.loss = 1.0 / (i + 1), .accuracy = 0.5, .val_loss = 0.9, .val_accuracy = 0.6 + 0.1 * i});
  Evaluation evaluation;
  evaluation.examples = 10;
  evaluation.accuracy = 0.8;
  evaluation.per_class = {{"ants", 4, 0.6667, 1, 0.8}, {"bees", 6, 1, 0.6667, 0.8}};
  evaluation.confusion = {{4, 0}, {2, 4}};
  evaluation.tasks.resize(1);
  return {.title = "ants and bees",
          .settings = {{"lr", "0.001"}},
          .history = history,
          .evaluations = {{"validation", evaluation}},
          .hashes = {{"model", std::string(64, 'a')}}};
}

std::unique_ptr<Saving> artefact() {
  const auto model = std::make_shared<Model>(
      Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(32)}));
  return std::make_unique<SavingAFile>([model](const fs::path& path) { model->save(path); });
}
/// The network is compiled within.
std::unique_ptr<Saving> fresh_artefact() {
  const LoadOptions options{.preprocessing = Preprocessing::rescale_mode(32)};
  return std::make_unique<SavingAFile>([options, from = golden("networks/resnet_scripted.pt")](const fs::path& path) {
    Model::load(from, options).save(path);
  });
}
std::unique_ptr<Saving> page() {
  return std::make_unique<SavingAFile>([made = report()](const fs::path& path) { write_html(path, made); });
}
std::unique_ptr<Saving> array() {
  return std::make_unique<SavingAFile>([ones = at::ones({2, 3})](const fs::path& path) { write_npy(path, ones); });
}
template <class Kind>
std::unique_ptr<Saving> make() {
  return std::make_unique<Kind>();
}

struct Kind {
  const char* name;
  std::unique_ptr<Saving> (*create)();
  int step = 1;  ///< from one allocation that fails to the next, by default: all of them take minutes
};

int step_of(int by_default) {
  const char* given = std::getenv("GRAFT_FAULT_STEP");
  return given ? std::atoi(given) : by_default;
}

class EverySave : public ::testing::TestWithParam<Kind> {
 protected:
  /// A thread alone: children are forked.
  static void SetUpTestSuite() { at::set_num_threads(1); }

  void SetUp() override {
    saving_ = GetParam().create();
    saving_->begin();
    ASSERT_EQ(saving_->found(), "old");
    before_ = saving_->names();
    ASSERT_TRUE(saving_->save());
    ASSERT_EQ(saving_->found(), "new");
    after_ = saving_->names();
  }

  /// Lets every call fail in its turn, or each of `step`, until there is none that has not; checks what is left.
  void fail_each(Resource resource, Effect effect, bool from_then_on, int step = 1) {
    long times = 0;
    for (long at = 0;; at += step, ++times) {
      saving_->begin();
      const auto held = descriptors();
      bool complete = false;
      std::string call;
      const auto failure = failure_of({resource, effect, at, from_then_on}, call, [&] { complete = saving_->save(); });
      if (call.empty()) break;
      SCOPED_TRACE("call " + std::to_string(at) + ", " + call);
      if (failure) check_error(failure, resource);
      EXPECT_EQ(descriptors(), held);
      EXPECT_EQ(mapped_files(), 0);
      const auto found = saving_->found();
      EXPECT_TRUE(found == "new" || (found == "old" && !complete)) << found;
      // The new one is there and yet it failed: the sync of its folder.
      if (failure && found == "new" && resource == Resource::kSystem) {
        EXPECT_EQ(call, "fsync");
      }
      if (!from_then_on) {
        const auto names = saving_->names();
        EXPECT_TRUE(names == before_ || names == after_) << ::testing::PrintToString(names);
      }
      check_next_save();
      if (HasFailure()) return;
    }
    EXPECT_GT(times, 0);
    std::printf("[ measured ] %s: %ld of %ld survived\n", GetParam().name, times, times);
  }

  void kill_at_each(Effect effect) {
    long at = 0, old = 0;
    for (;; ++at) {
      saving_->begin();
      const auto child = ::fork();
      if (child == 0) {
        const Armed armed({Resource::kSystem, effect, at});
        try {
          ::_exit(saving_->save() ? 0 : 2);
        } catch (...) {
          ::_exit(3);
        }
      }
      int status = 0;
      ASSERT_EQ(::waitpid(child, &status, 0), child);
      if (WIFEXITED(status)) {
        EXPECT_EQ(WEXITSTATUS(status), 0);
        break;
      }
      SCOPED_TRACE("call " + std::to_string(at));
      ASSERT_EQ(WTERMSIG(status), SIGKILL);
      const auto found = saving_->found();
      EXPECT_TRUE(found == "new" || found == "old") << found;
      old += found == "old";
      check_next_save();
      if (HasFailure()) return;
    }
    EXPECT_GT(old, 0);
    std::printf("[ measured ] %s: %ld kills, nothing lost\n", GetParam().name, at);
  }

 private:
  /// Nothing stands in its way, and what the one before has left goes.
  void check_next_save() {
    EXPECT_TRUE(saving_->save());
    EXPECT_EQ(saving_->found(), "new");
    EXPECT_EQ(saving_->names(), after_);
  }

  long mapped_files() const {
    std::ifstream maps("/proc/self/maps");
    long found = 0;
    for (std::string line; std::getline(maps, line);)
      found += line.find(saving_->folder().string()) != std::string::npos;
    return found;
  }

  std::unique_ptr<Saving> saving_;
  std::set<std::string> before_, after_;
};

INSTANTIATE_TEST_SUITE_P(Kinds, EverySave,
                         ::testing::Values(Kind{"artefact", artefact, 23}, Kind{"checkpoint", make<SavingACheckpoint>},
                                           Kind{"features", make<SavingFeatures>}, Kind{"page", page, 23},
                                           Kind{"array", array}),
                         [](const auto& param) { return std::string(param.param.name); });

TEST_P(EverySave, SurvivesEachSystemCallThatFails) { fail_each(Resource::kSystem, Effect::kFail, false); }
TEST_P(EverySave, SurvivesASystemThatFailsFromAnyCallOn) { fail_each(Resource::kSystem, Effect::kFail, true); }
TEST_P(EverySave, SurvivesShortWrites) { fail_each(Resource::kSystem, Effect::kShort, false); }
TEST_P(EverySave, SurvivesEachAllocationThatFails) {
  fail_each(Resource::kMemory, Effect::kFail, false, step_of(GetParam().step));
}
TEST_P(EverySave, SurvivesAHeapThatFailsFromAnyAllocationOn) {
  fail_each(Resource::kMemory, Effect::kFail, true, step_of(GetParam().step));
}
TEST_P(EverySave, Case93KilledAtAnySystemCallTheOldOrTheNewIsWhole) { kill_at_each(Effect::kKill); }
TEST_P(EverySave, Case93KilledWithinAnyWriteTheOldOrTheNewIsWhole) { kill_at_each(Effect::kTear); }

/// A model is loaded and compiled within: thousands of allocations.
class LoadingAndSaving : public EverySave {};
INSTANTIATE_TEST_SUITE_P(Kinds, LoadingAndSaving, ::testing::Values(Kind{"fresh_artefact", fresh_artefact, 997}),
                         [](const auto& param) { return std::string(param.param.name); });
TEST_P(LoadingAndSaving, SurvivesAllocationsThatFail) {
  fail_each(Resource::kMemory, Effect::kFail, false, step_of(GetParam().step));
}
TEST_P(LoadingAndSaving, SurvivesSystemCallsThatFail) {
  fail_each(Resource::kSystem, Effect::kFail, false, step_of(53));
}

// --- TensorBoard's files are appended to

/// The records of an event file (TFRecords: length, checksum, data, checksum) that are whole, and whether there is
/// more.
std::pair<int, bool> records(const fs::path& file) {
  const auto content = slurp(file);
  std::size_t at = 0;
  for (int whole = 0;; ++whole) {
    std::uint64_t length = 0;
    if (at + sizeof length > content.size()) return {whole, at < content.size()};
    std::memcpy(&length, content.data() + at, sizeof length);
    if (length > content.size() - at || at + length + 16 > content.size()) return {whole, true};
    at += length + 16;
  }
}

class EventFiles : public ::testing::TestWithParam<std::tuple<Resource, bool>> {};
INSTANTIATE_TEST_SUITE_P(Faults, EventFiles,
                         ::testing::Combine(::testing::Values(Resource::kSystem, Resource::kMemory),
                                            ::testing::Bool()));

TEST_P(EventFiles, SurviveWhateverFails) {
  const auto [resource, from_then_on] = GetParam();
  const auto write = [](const fs::path& folder) {
    TensorBoard board(folder);
    board.add(EpochInfo{.loss = 1, .val_loss = 2});
  };
  const auto counts = [](const fs::path& folder) {
    std::vector<std::pair<int, bool>> found;
    if (fs::exists(folder))
      for (const auto& entry : fs::recursive_directory_iterator(folder))
        if (entry.is_regular_file()) found.push_back(records(entry.path()));
    return found;
  };
  using ::testing::Each;
  using ::testing::Pair;
  for (long at = 0;; ++at) {
    const Scratch scratch;
    const auto held = descriptors();
    const auto folder = scratch / "run";
    std::string call;
    const auto failure = failure_of({resource, Effect::kFail, at, from_then_on}, call, [&] { write(folder); });
    if (call.empty()) break;
    SCOPED_TRACE("call " + std::to_string(at) + ", " + call);
    if (failure) check_error(failure, resource);
    EXPECT_EQ(descriptors(), held);
    if (!failure) {
      EXPECT_THAT(counts(folder), ::testing::ElementsAre(Pair(2, false), Pair(2, false)));
    } else if (resource == Resource::kMemory) {
      EXPECT_THAT(counts(folder), Each(Pair(::testing::_, false)));
    }
    write(scratch / "next");
    EXPECT_THAT(counts(scratch / "next"), ::testing::ElementsAre(Pair(2, false), Pair(2, false)));
    ASSERT_FALSE(HasFailure());
  }
}

}  // namespace
}  // namespace graft::testing
