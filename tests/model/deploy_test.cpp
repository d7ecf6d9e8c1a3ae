#include <graft/deploy.h>

#include <filesystem>
#include <fstream>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/files.h"
#include "support/scratch.h"

namespace graft {
namespace {

using graft::testing::golden;
using graft::testing::Scratch;
using graft::testing::slurp;
using ::testing::HasSubstr;

namespace fs = std::filesystem;

Model load() { return Model::load(golden("networks/resnet_scripted.pt")); }

TEST(Triton, TheRepositoryHoldsModelLabelsAndConfiguration) {
  const Scratch scratch;
  auto model = load();
  model.set_labels({{"n1", "one"}, {"n2", ""}, {"n3", "a \"third\""}, {"n4", "one"}, {"n5", "five"}});
  const auto files = export_triton(model, scratch / "repository", {.name = "birds-2.1", .max_batch_size = 8});
  EXPECT_EQ(files.config, scratch / "repository/birds-2.1/config.pbtxt");
  EXPECT_EQ(files.labels, scratch / "repository/birds-2.1/labels.txt");
  EXPECT_EQ(files.model, scratch / "repository/birds-2.1/1/model.pt");
  EXPECT_EQ(slurp(files.labels), "one\nn2\na \"third\"\none\nfive\n");
  const auto config = slurp(files.config);
  EXPECT_THAT(config, HasSubstr("name: \"birds-2.1\"\nbackend: \"pytorch\"\nplatform: \"pytorch_libtorch\"\n"));
  EXPECT_THAT(config, HasSubstr("max_batch_size: 8\n"));
  EXPECT_THAT(config, HasSubstr("\"graft_preprocessing\"\n  value { string_value: \"{\\\"channels\\\":\\\"rgb\\\","));
  const auto& p = model.preprocessing();
  EXPECT_THAT(config, HasSubstr("dims: [ 3, " + std::to_string(p.crop_height_px) + ", " +
                                std::to_string(p.crop_width_px) + " ]"));
  EXPECT_THAT(config, HasSubstr("dims: [ 5 ]\n    label_filename: \"labels.txt\""));
  EXPECT_THAT(config, ::testing::Not(HasSubstr("@")));

  const auto saved = Model::load(files.model);
  const auto input = at::rand({2, 3, p.crop_height_px, p.crop_width_px});
  EXPECT_TRUE(at::equal(saved.forward(input), model.forward(input)));
}

TEST(Triton, AVersionThatIsThereIsKeptUnlessAskedFor) {
  const Scratch scratch;
  const auto model = load();
  const auto files = export_triton(model, scratch.path(), {.name = "m"});
  const auto before = slurp(files.model);
  EXPECT_GRAFT_ERROR(export_triton(model, scratch.path(), {.name = "m"}), kConfig, "m/1: this version is there");
  EXPECT_EQ(slurp(files.model), before);

  const auto second = export_triton(model, scratch.path(), {.name = "m", .version = 2});
  EXPECT_EQ(second.model, scratch / "m/2/model.pt");
  EXPECT_TRUE(fs::exists(files.model));

  // A configuration that somebody wrote, or labels of another model, serve the versions that are there.
  std::ofstream(files.config, std::ios::app) << "instance_group [ { kind: KIND_CPU } ]\n";
  EXPECT_GRAFT_ERROR(export_triton(model, scratch.path(), {.name = "m", .version = 3}), kConfig,
                     "config.pbtxt: is there already and says something else");
  EXPECT_FALSE(fs::exists(scratch / "m/3"));
  export_triton(model, scratch.path(), {.name = "m", .version = 3, .replace = true});
  EXPECT_THAT(slurp(files.config), ::testing::Not(HasSubstr("instance_group")));
  std::ofstream(files.labels) << "others\n";
  EXPECT_GRAFT_ERROR(export_triton(model, scratch.path(), {.name = "m", .version = 4}), kConfig, "labels.txt");
}

TEST(Triton, BadOptionsAreRefusedBeforeAnythingIsWritten) {
  const Scratch scratch;
  auto model = load();
  const auto into = scratch / "repository";
  for (const char* name : {"", ".hidden", "..", "a/b", "a b", "a\"b", "\xC3\xA4"})
    EXPECT_GRAFT_ERROR(export_triton(model, into, {.name = name}), kConfig, "name: expected letters");
  EXPECT_GRAFT_ERROR(export_triton(model, into, {.name = "m", .version = 0}), kConfig, "version");
  EXPECT_GRAFT_ERROR(export_triton(model, into, {.name = "m", .max_batch_size = 0}), kConfig, "max_batch_size");
  EXPECT_GRAFT_ERROR(export_triton(model, into, {.name = "m", .max_batch_size = 1LL << 31}), kConfig, "2147483648");
  model.train();
  EXPECT_GRAFT_ERROR(export_triton(model, into, {.name = "m"}), kConfig, "training mode");
  model.eval();
  model.set_labels({{"0", "a\nb"}, {"1", ""}, {"2", ""}, {"3", ""}, {"4", ""}});
  EXPECT_GRAFT_ERROR(export_triton(model, into, {.name = "m"}), kMismatch, "line break");
  EXPECT_FALSE(fs::exists(into));
}

TEST(Triton, WhatCannotBeWrittenLeavesNoEmptyVersion) {
  const Scratch scratch;
  const auto model = load();
  scratch.write("file", "");
  EXPECT_GRAFT_ERROR(export_triton(model, scratch / "file", {.name = "m"}), kIo, "file/m");
  // A folder where model.pt should go.
  fs::create_directories(scratch / "m/1/model.pt");
  EXPECT_GRAFT_ERROR(export_triton(model, scratch.path(), {.name = "m", .replace = true}), kIo, "model.pt");
  EXPECT_TRUE(fs::exists(scratch / "m/1/model.pt"));
  EXPECT_FALSE(fs::exists(scratch / "m/config.pbtxt"));
}

TEST(Triton, AfterAFailureItCanBeTriedAgain) {
  const Scratch scratch;
  const auto model = load();
  // What comes last cannot be written: a folder with something in it is there.
  scratch.write("m/config.pbtxt/file", "");
  EXPECT_GRAFT_ERROR(export_triton(model, scratch.path(), {.name = "m", .replace = true}), kIo, "config.pbtxt");
  EXPECT_FALSE(fs::exists(scratch / "m/1"));
  EXPECT_FALSE(fs::exists(scratch / "m/labels.txt"));
  fs::remove_all(scratch / "m/config.pbtxt");
  fs::create_directories(scratch / "m/1");  // as a process leaves it that is killed while it writes the model
  const auto files = export_triton(model, scratch.path(), {.name = "m"});
  for (const auto& file : {files.model, files.labels, files.config}) EXPECT_TRUE(fs::is_regular_file(file)) << file;
  EXPECT_GRAFT_ERROR(export_triton(model, scratch.path(), {.name = "m"}), kConfig, "is there already");
}

}  // namespace
}  // namespace graft
