#include <graft/files.h>

#include <cstring>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/byte_source.h"
#include "base/files.h"
#include "base/sha256.h"
#include "support/expect_error.h"
#include "support/scratch.h"

namespace graft::base {
namespace {

using graft::testing::Scratch;
using graft::testing::slurp;

TEST(Files, WhatIsNoRegularFileIsRefused) {
  const Scratch scratch;
  EXPECT_GRAFT_ERROR(read_file(scratch / "missing"), kIo, "No such file");
  EXPECT_GRAFT_ERROR(read_file(scratch.path()), kIo, "directory");
  ASSERT_EQ(::mkfifo((scratch / "pipe").c_str(), 0600), 0);
  EXPECT_GRAFT_ERROR(read_file(scratch / "pipe"), kIo, "pipe");
  std::filesystem::create_symlink("loop", scratch / "loop");
  EXPECT_GRAFT_ERROR(read_file(scratch / "loop"), kIo, "loop");
}

TEST(Files, AreReadWhole) {
  const Scratch scratch;
  const auto bytes = read_file(scratch.write("a", "abc"));
  EXPECT_EQ(bytes.size(), 3u);
  EXPECT_EQ(Sha256().update(bytes).hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");  // FIPS 180-4's example
  EXPECT_TRUE(read_file(scratch.write("empty", "")).empty());
  EXPECT_EQ(read_file(scratch / "a", 3).size(), 3u);
  EXPECT_GRAFT_ERROR(read_file(scratch / "a", 2), kLimit, "expected at most 2 bytes, found 3");
}

TEST(Files, AtomicWriteReplacesAndLeavesNothingBehind) {
  const Scratch scratch;
  write_atomically(scratch / "a", "one");
  write_atomically(scratch / "a", "two");
  EXPECT_EQ(slurp(scratch / "a"), "two");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(scratch.path()), {}), 1);
}

TEST(Files, Case95LeftoversAreRemovedUnlessTheirWriterLives) {
  const Scratch scratch;
  // Three writers were killed, one works on.
  const auto first = scratch.write("a.graft-tmp-00000000", "half"), later = scratch.write("a.graft-tmp-00000002", "");
  const auto last = scratch.write("a.graft-tmp-00000005", "most");
  const auto alive = scratch.write("a.graft-tmp-00000001", "at work");
  const auto other = scratch.write("ab.graft-tmp-00000000", "another's"), own = scratch.write("a.tmp-backup", "own");
  const Descriptor writer(::open(alive.c_str(), O_RDWR));
  ASSERT_EQ(::flock(writer.get(), LOCK_EX), 0);
  write_atomically(scratch / "a", "one");
  for (const auto& dead : {first, later, last}) EXPECT_FALSE(std::filesystem::exists(dead)) << dead;
  EXPECT_EQ(slurp(alive), "at work");
  EXPECT_TRUE(std::filesystem::exists(other));
  EXPECT_TRUE(std::filesystem::exists(own));
  EXPECT_EQ(slurp(scratch / "a"), "one");
}

TEST(Files, ALeftoverNobodyCanRemoveIsInNobodysWay) {
  const Scratch scratch;
  std::filesystem::create_directory(scratch / "a.graft-tmp-00000000");
  std::filesystem::create_symlink("elsewhere", scratch / "a.graft-tmp-00000001");
  write_atomically(scratch / "a", "one");
  EXPECT_EQ(slurp(scratch / "a"), "one");
  EXPECT_TRUE(std::filesystem::is_symlink(scratch / "a.graft-tmp-00000001"));
  EXPECT_FALSE(std::filesystem::exists(scratch / "elsewhere"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(scratch.path()), {}), 3);
}

TEST(Files, AWrittenFileHasTheModeOfTheOldOneOrWhatTheUmaskLeaves) {
  const Scratch scratch;
  const auto mode = [&](const char* name) {
    return static_cast<unsigned>(std::filesystem::status(scratch / name).permissions());
  };
  const auto before = ::umask(0077);
  write_atomically(scratch / "private", "x");
  ::umask(0002);
  write_atomically(scratch / "shared", "x");
  ::umask(before);
  EXPECT_EQ(mode("private"), 0600u);
  EXPECT_EQ(mode("shared"), 0664u);
  std::filesystem::permissions(scratch / "shared", std::filesystem::perms(0640));
  write_atomically(scratch / "shared", "y");
  EXPECT_EQ(mode("shared"), 0640u);
}

TEST(Files, ALinkStaysOne) {
  const Scratch scratch;
  std::filesystem::create_directory(scratch / "there");
  write_atomically(scratch / "there" / "a", "old");
  std::filesystem::create_symlink("there/a", scratch / "link");
  write_atomically(scratch / "link", "new");
  EXPECT_TRUE(std::filesystem::is_symlink(scratch / "link"));
  EXPECT_EQ(slurp(scratch / "there" / "a"), "new");
}

TEST(Files, ManyWritersOfOneFileLeaveOneWhole) {
  const Scratch scratch;
  std::vector<std::thread> writers;
  for (const char letter : {'a', 'b', 'c', 'd'})
    writers.emplace_back([&, letter] {
      for (int i = 0; i < 100; ++i) write_atomically(scratch / "x", std::string(10'000, letter));
    });
  for (auto& writer : writers) writer.join();
  const auto left = slurp(scratch / "x");
  EXPECT_EQ(left, std::string(10'000, left.at(0)));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(scratch.path()), {}), 1);
}

TEST(Files, Case91FullDiskIsReported) {
  EXPECT_GRAFT_ERROR(write_atomically("/dev/full", "x"), kIo, "/dev/full");
  EXPECT_GRAFT_ERROR(write_atomically("/proc/nowhere/file", "x"), kIo, "/proc/nowhere/file");
  EXPECT_GRAFT_ERROR(check_writable("/proc/nowhere/file"), kIo, "/proc/nowhere/file");
  EXPECT_GRAFT_ERROR(check_writable(""), kIo, "expected the name of a file, found none");
}

TEST(Files, NpyIsNumpysFormat) {
  const Scratch scratch;
  write_npy(scratch / "a.npy", at::arange(6, at::kFloat).reshape({2, 3}).t());
  const auto bytes = slurp(scratch / "a.npy");
  EXPECT_EQ(bytes.substr(0, 10), std::string("\x93NUMPY\x01\x00\x76\x00", 10));
  EXPECT_EQ(bytes.substr(10, 59), "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }");
  ASSERT_EQ(bytes.size(), 128u + 24u);
  EXPECT_EQ(bytes[127], '\n');
  float second = 0;
  std::memcpy(&second, bytes.data() + 132, 4);
  EXPECT_EQ(second, 3);  // C order of the transposed view
  EXPECT_GRAFT_ERROR(write_npy(scratch / "b.npy", at::zeros({2}, at::kLong)), kConfig, "float32");
}

}  // namespace
}  // namespace graft::base
