#include <graft/dataset.h>

#include <algorithm>

#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "support/scratch.h"

namespace graft {
namespace {

using graft::testing::Scratch;
using ::testing::ElementsAre;

/// Two classes with three files each; what is in the files does not matter here.
struct Folder : Scratch {
  Folder() {
    for (const std::string name :
         {"Zebra/1.png", "Zebra/2.png", "Zebra/deeper/0.png", "ant/b.png", "ant/a.png", "ant/c.png"})
      write(name, "x");
  }
};

std::vector<std::string> names(const ImageFolder& folder, const Scratch& scratch) {
  std::vector<std::string> result;
  for (std::size_t i = 0; i < folder.size(); ++i)
    result.push_back(folder.path(i).lexically_relative(scratch.path()).string());
  return result;
}

TEST(ImageFolder, ClassesAndFilesComeInCodePointOrder) {
  const Folder folder;
  const ImageFolder data(folder.path());
  EXPECT_THAT(data.classes(), ElementsAre("Zebra", "ant"));
  EXPECT_THAT(names(data, folder),
              ElementsAre("Zebra/1.png", "Zebra/2.png", "Zebra/deeper/0.png", "ant/a.png", "ant/b.png", "ant/c.png"));
  EXPECT_EQ(data.label(2), 0);
  EXPECT_EQ(data.label(3), 1);
  EXPECT_GRAFT_ERROR(data.label(6), kConfig, "below 6");
}

/// The list is what torchvision's and Keras' loops over sorted(os.walk(...)) yield in Python for these files.
TEST(ImageFolder, FilesOfSubFoldersComeAsInTorchvisionAndKeras) {
  const Scratch scratch;
  for (const std::string name :
       {"z.jpg", "a.jpg", "a/1.jpg", "a/c/0.jpg", "a-b/5.jpg", "B/x10.jpg", "B/x9.jpg", "é.jpg"})
    scratch.write("class/" + name, "x");
  EXPECT_THAT(names(ImageFolder(scratch.path(), {.allow_single_class = true}), scratch),
              ElementsAre("class/a.jpg", "class/z.jpg", "class/é.jpg", "class/B/x10.jpg", "class/B/x9.jpg",
                          "class/a/1.jpg", "class/a-b/5.jpg", "class/a/c/0.jpg"));
}

TEST(ImageFolder, AGivenListOfClassesKeepsItsOrder) {
  const Folder folder;
  EXPECT_EQ(ImageFolder(folder.path(), {.classes = {"ant", "Zebra"}}).label(0), 0);
  EXPECT_GRAFT_ERROR(ImageFolder(folder.path(), {.classes = {"ant", "bee"}}), kMismatch, "bee");
}

TEST(ImageFolder, SplitIsSeededDisjointAndPerClass) {
  const Folder folder;
  const ImageFolder data(folder.path(), {.augment = {.zoom = 0.1}});
  const auto [first, second] = data.split(0.34, 5);
  EXPECT_EQ(second.size(), 2u);
  EXPECT_EQ(first.size(), 4u);
  EXPECT_NE(second.label(0), second.label(1));
  EXPECT_TRUE(first.augment().enabled());
  EXPECT_FALSE(second.augment().enabled());
  auto all = names(first, folder), rest = names(second, folder);
  all.insert(all.end(), rest.begin(), rest.end());
  std::sort(all.begin(), all.end());
  EXPECT_EQ(all, names(data, folder));
  EXPECT_EQ(names(data.split(0.34, 5).second, folder), rest);
  bool differs = false;
  for (std::uint64_t seed = 0; seed < 8; ++seed)
    differs = differs || names(data.split(0.34, seed).second, folder) != rest;
  EXPECT_TRUE(differs);
  EXPECT_GRAFT_ERROR(data.split(1.0), kConfig, "found 1");
  EXPECT_GRAFT_ERROR(data.split(1.5), kConfig, "found 1.5");
}

TEST(BadData, Case69NamesNeedNotBeUtf8) {
  const Folder folder;
  folder.write("ant/\xff\xfe.png", "x");
  EXPECT_EQ(ImageFolder(folder.path()).size(), 7u);
}
TEST(BadData, Case69ClassesAreNamedInUtf8) {
  const Folder folder;
  folder.write("gr\xfcn/1.png", "x");
  EXPECT_GRAFT_ERROR(ImageFolder(folder.path()), kFormat,
                     "expected classes with names in UTF-8, found \"gr\\xfcn\"");
  EXPECT_EQ(ImageFolder(folder.path(), {.classes = {"ant", "Zebra"}}).classes().size(), 2u);  // it is none of them
}
TEST(BadData, Case71RootMissingOrAFile) {
  const Folder folder;
  EXPECT_GRAFT_ERROR(ImageFolder(folder / "missing"), kIo, "missing");
  EXPECT_GRAFT_ERROR(ImageFolder(folder / "ant/a.png"), kIo, "a file");
}
TEST(BadData, Case72NoClassFolders) {
  EXPECT_GRAFT_ERROR(ImageFolder(Scratch().path()), kMismatch, "one folder for each class");
}
TEST(BadData, Case73EmptyClass) {
  const Folder folder;
  std::filesystem::create_directory(folder / "empty");
  EXPECT_GRAFT_ERROR(ImageFolder(folder.path()), kMismatch, "empty");
  EXPECT_EQ(ImageFolder(folder.path(), {.allow_empty_class = true}).classes().size(), 3u);
}
TEST(BadData, Case74OneClass) {
  const Scratch scratch;
  scratch.write("only/a.png", "x");
  EXPECT_GRAFT_ERROR(ImageFolder(scratch.path()), kMismatch, "only");
  EXPECT_EQ(ImageFolder(scratch.path(), {.allow_single_class = true}).size(), 1u);
}
TEST(BadData, Case75PicturesAtTheRoot) {
  const Folder folder;
  folder.write("stray.png", "x");
  EXPECT_GRAFT_ERROR(ImageFolder(folder.path()), kFormat, "stray.png");
  EXPECT_EQ(ImageFolder(folder.path(), {.on_bad_image = OnBadImage::kSkip}).stray_files().size(), 1u);
}
TEST(BadData, Case77HiddenFilesAreIgnored) {
  const Folder folder;
  folder.write(".DS_Store", "x");
  folder.write("ant/.thumbs", "x");
  folder.write(".git/config", "x");
  EXPECT_EQ(ImageFolder(folder.path()).size(), 6u);
}
TEST(BadData, Case78ALinkToAFolderAboveIsNotFollowed) {
  const Folder folder;
  folder.write("Zebra/deeper/elsewhere/1.png", "x");
  std::filesystem::create_directory_symlink(folder / "Zebra", folder / "Zebra/deeper/around");
  const ImageFolder before(folder.path());
  const std::vector<std::filesystem::path> above = {folder / "ant", folder.path(), folder.path().parent_path(), "/"};
  for (std::size_t i = 0; i < above.size(); ++i)
    std::filesystem::create_directory_symlink(above[i], folder / ("ant/up" + std::to_string(i)));
  EXPECT_EQ(before.size(), 7u);
  EXPECT_EQ(names(ImageFolder(folder.path()), folder), names(before, folder));
  EXPECT_EQ(list_images({folder / "ant"}).size(), 3u);
}
TEST(BadData, Case78ALinkToAFolderBesideIsFollowed) {
  const Folder folder, other;
  std::filesystem::create_directory_symlink(other / "Zebra", folder / "ant/more");
  EXPECT_THAT(names(ImageFolder(folder.path()), folder),
              ElementsAre("Zebra/1.png", "Zebra/2.png", "Zebra/deeper/0.png", "ant/a.png", "ant/b.png", "ant/c.png",
                          "ant/more/1.png", "ant/more/2.png", "ant/more/deeper/0.png"));
}
TEST(BadData, Case79ClassesThatDifferByCaseOnly) {
  const Folder folder;
  folder.write("Ant/a.png", "x");
  EXPECT_GRAFT_ERROR(ImageFolder(folder.path()), kMismatch, "upper and lower case");
}

TEST(ListImages, WalksFoldersInOrder) {
  const Folder folder;
  const auto files = list_images({folder / "ant/c.png", folder / "Zebra"});
  ASSERT_EQ(files.size(), 4u);
  EXPECT_EQ(files[0].filename(), "c.png");
  EXPECT_EQ(files[3].filename(), "0.png");
  EXPECT_GRAFT_ERROR(list_images({folder / "nowhere"}), kIo, "nowhere");
}

}  // namespace
}  // namespace graft
