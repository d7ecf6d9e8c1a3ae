// What people write: files of labels, lists of hashes, options as text, tables, and texts to tokenise; and feature
// caches. The first byte chooses the reader. Nothing but a graft::Error may leave it.

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <sys/mman.h>
#include <unistd.h>

#include <graft/augment.h>
#include <graft/error.h>
#include <graft/inspect.h>
#include <graft/preprocess.h>
#include <graft/schedule.h>
#include <graft/tokenizer.h>

#include "base/manifest.h"
#include "data/csv.h"
#include "train/feature_file.h"

namespace {

/// A file in memory, with a path.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view content) : fd_(::memfd_create("fuzzed", MFD_CLOEXEC)) {
    if (::write(fd_, content.data(), content.size()) != static_cast<ssize_t>(content.size())) __builtin_trap();
  }
  ~MemoryFile() { ::close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

/// A cache's file cannot be anywhere: it has a name in its folder, which is this one for the length of the process.
const std::filesystem::path& cache_folder() {
  static const std::filesystem::path folder = [] {
    std::string pattern = (std::filesystem::temp_directory_path() / "graft-fuzz-XXXXXX").string();
    if (!::mkdtemp(pattern.data())) __builtin_trap();
    std::atexit([] {
      std::error_code ignored;
      std::filesystem::remove_all(cache_folder(), ignored);
    });
    return pattern;
  }();
  return folder;
}

/// As it is opened; a row is appended to it, and that is there the next time.
void open_cache(std::string_view content) {
  const std::string space(64, 'a'), key(64, 'k');
  const auto path = cache_folder() / (space.substr(0, 32) + ".features");
  std::filesystem::remove(path);
  std::ofstream(path, std::ios::binary).write(content.data(), static_cast<std::streamsize>(content.size()));
  std::size_t rows = 0, row_bytes = 0;
  {
    graft::train::FeatureFile file(cache_folder(), space, 1 << 20, {});
    if (file.shape().empty()) file.set_shape({2});
    row_bytes = sizeof(float);
    for (const auto size : file.shape()) row_bytes *= static_cast<std::size_t>(size);
    if (row_bytes > content.size() + sizeof(float) * 2) return;  // what it states of itself does not fit in it
    rows = file.rows().size();
    const std::vector<std::byte> row(row_bytes);
    if (!file.can_append() || !file.append(key, row)) return;
  }
  const graft::train::FeatureFile again(cache_folder(), space, 1 << 20, {});
  if (again.rows().size() != rows + 1) __builtin_trap();
}

void read_table(std::string_view text) {
  constexpr std::size_t kMostBytes = 1000;
  graft::data::check_lines(text);
  graft::data::CsvReader reader(text, kMostBytes);
  std::size_t line = 0;
  while (const auto row = reader.next()) {
    if (row->line <= line || row->fields.empty()) __builtin_trap();
    line = row->line;
    for (const auto& field : row->fields)
      if (field.size() > kMostBytes) __builtin_trap();
  }
}

/// The first byte chooses the options.
void tokenize(std::string_view text) {
  if (text.empty()) return;
  const auto bits = static_cast<unsigned char>(text.front());
  const graft::Tokenizer tokenizer(
      {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "##a", "##b", "\u4e2d", "e", "##\u0301", "!"},
      {.lower_case = (bits & 1) != 0,
       .strip_accents = (bits & 2) != 0,
       .split_cjk = (bits & 4) != 0,
       .max_length = 2 + bits / 8,
       .special_tokens_in_text = (bits & 8) != 0});
  const auto tokens = tokenizer.encode(text.substr(1));
  if (std::ssize(tokens) > tokenizer.options().max_length) __builtin_trap();
  for (const auto token : tokens)
    if (token < 0 || token >= std::ssize(tokenizer.vocabulary())) __builtin_trap();
}

void read(std::uint8_t which, std::string_view text) {
  switch (which % 8) {
    case 0:
      (void)graft::read_labels(MemoryFile(text).path());
      return;
    case 1:
      (void)graft::Preprocessing::parse(text);
      return;
    case 2:
      (void)graft::Augment::parse(text);
      return;
    case 3:
      (void)graft::Schedule::parse(text);
      return;
    case 4:
      open_cache(text);
      return;
    case 5:
      return read_table(text);
    case 6:
      return tokenize(text);
    default:
      graft::base::check_listed(MemoryFile(text).path(), "model.pt", {});
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  try {
    read(data[0], {reinterpret_cast<const char*>(data) + 1, size - 1});
  } catch (const graft::Error&) {
  }
  return 0;
}
