#include "graph/archive.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <exception>
#include <optional>
#include <utility>

#include <caffe2/serialize/inline_container.h>
#include <caffe2/serialize/versions.h>

#include <graft/error.h>

#include "base/crc32.h"
#include "base/little_endian.h"
#include "base/text.h"
#include "base/translate.h"
#include "graph/pickle.h"

namespace graft::graph {

namespace {

constexpr std::size_t kChunk = std::size_t{256} << 10;     // stays in the cache between reading and its CRC
constexpr std::uint64_t kSmall = std::uint64_t{16} << 10;  // read at once, with its header
constexpr std::uint64_t kMostReferences = 4;               // to each storage, on average
constexpr std::size_t kTail = 4096;                        // where LibTorch's reader looks for the end record

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Safetensors begin with the length of a JSON object, little-endian, and the object itself.
bool looks_like_safetensors(std::span<const std::byte> bytes, std::uint64_t file_size) {
  if (bytes.size() < 10) return false;
  return bytes[8] == std::byte{'{'} && base::little_endian(bytes.first(8)) <= file_size - 8;
}

[[noreturn]] void refuse_file(ErrorCode code, std::string_view found) {
  throw Error(code, "expected a TorchScript file (torch.jit.save), found " + std::string(found));
}

void check_is_zip(const base::ByteSource& source) {
  const auto bytes = source.read(0, std::min<std::uint64_t>(source.size(), 1024));
  const auto head = as_text(bytes);
  if (bytes.empty()) refuse_file(ErrorCode::kFormat, "an empty file");
  if (head.starts_with(std::string_view("PK\x03\x04", 4))) return;
  if (head.starts_with("version https://git-lfs"))
    refuse_file(ErrorCode::kFormat, "a Git LFS pointer: the file itself was not fetched (git lfs pull)");
  const auto lower = base::lower_case(head);
  if (lower.find("<html") != lower.npos || lower.find("<!doctype") != lower.npos)
    refuse_file(ErrorCode::kFormat, "an HTML page: probably a download's error page");
  if (looks_like_safetensors(bytes, source.size()))
    refuse_file(ErrorCode::kMismatch,
                "safetensors: weights without a network; Model::from_safetensors reads those of VGG16 and ResNet50");
  if (head.size() >= 2 && head[0] == '\x80' && head[1] >= 2 && head[1] <= 5)
    refuse_file(ErrorCode::kFormat, "a pickle of the old torch.save format; export with models/export_torchscript.py");
  if (head.size() > 262 && head.substr(257, 5) == "ustar")
    refuse_file(ErrorCode::kFormat, "a tar archive of the old torch.save format");
  if (head.starts_with("PK")) refuse_file(ErrorCode::kFormat, "a zip archive that is cut off or empty");
  const bool text = std::all_of(head.begin(), head.end(),
                                [](char c) { return c == '\n' || c == '\r' || c == '\t' || (c >= ' ' && c != 127); });
  refuse_file(ErrorCode::kFormat, text ? "a text file" : "something that is no zip archive");
}

bool is_source(std::string_view record) { return record.starts_with("code/") && record.ends_with(".py"); }
bool is_pickle(std::string_view record) { return record == "data.pkl" || record == "constants.pkl"; }
bool is_tensor(std::string_view record) { return record.starts_with("data/") || record.starts_with("constants/"); }

}  // namespace

Archive::Archive(const base::ByteSource& source, std::string_view name, const ArchiveLimits& limits)
    : source_(source), name_(name), limits_(limits) {
  base::named(name_, [&] {
    check_is_zip(source_);
    read_directory();
    classify();
    check_sizes();
    keep();
    check_version();
    check_kept();
    check_code();
    check_pickle_record("constants.pkl", "constants/");
    check_pickle_record("data.pkl", "data/");
    inflated_.clear();
  });
}

void Archive::refuse(const std::string& found) const {
  throw Error(ErrorCode::kFormat, "expected a whole TorchScript file, found " + found);
}

void Archive::read_directory() {
  auto entries = read_zip(source_, limits_);
  const auto folder = entries[0].name.substr(0, entries[0].name.find('/') + 1);
  if (folder.empty()) refuse_file(ErrorCode::kFormat, "a zip archive without TorchScript code");
  for (auto& entry : entries) {
    if (!entry.name.starts_with(folder)) refuse("\"" + entry.name + "\" outside of its folder " + folder);
    Record record;
    record.entry = std::move(entry);
    record.name = record.entry.name.substr(folder.size());
    record.kept = record.entry.deflated || record.entry.packed <= kSmall || !is_tensor(record.name);
    const auto at = record.entry.data;
    const auto [it, inserted] = records_.emplace(at, std::move(record));
    names_.emplace(it->second.name, &it->second);
  }
}

const Archive::Record* Archive::find(std::string_view record) const {
  const auto it = names_.find(record);
  return it == names_.end() ? nullptr : it->second;
}

void Archive::classify() const {
  const auto code = names_.lower_bound("code/");
  const bool has_code = code != names_.end() && code->first.starts_with("code/");
  const bool has_data = find("data.pkl") != nullptr;
  if (has_code && has_data && find("constants.pkl")) return;
  if (has_data)
    refuse_file(ErrorCode::kMismatch,
                "a state dict or pickled module (torch.save), not TorchScript: it holds no network; export with "
                "models/export_torchscript.py --weights FILE.pth");
  refuse_file(ErrorCode::kFormat, "a zip archive without TorchScript code");
}

/// Everything but the bytes of large tensors.
void Archive::keep() {
  std::uint64_t begin = 0;  // of what is wanted and not yet read
  const auto keep_until = [&](std::uint64_t end) {
    if (end > begin) kept_[begin] = source_.read(begin, end - begin);
  };
  for (const auto& [at, record] : records_) {
    if (record.kept) continue;
    keep_until(at);
    begin = at + record.entry.packed;
  }
  keep_until(source_.size());
}

std::span<const std::byte> Archive::kept_bytes(std::uint64_t begin, std::uint64_t count) const {
  auto it = kept_.upper_bound(begin);
  if (it == kept_.begin()) return {};
  const auto& [at, bytes] = *--it;
  if (begin - at > bytes.size() || count > bytes.size() - (begin - at)) return {};
  return std::span(bytes).subspan(begin - at, count);
}

std::span<const std::byte> Archive::content(const Record& record) const {
  if (const auto it = inflated_.find(&record); it != inflated_.end()) return it->second;
  return kept_bytes(record.entry.data, record.entry.packed);
}

void Archive::check_kept() {
  std::optional<caffe2::serialize::PyTorchStreamReader> inflater;  // LibTorch's own, so that no other library is needed
  for (auto& [at, record] : records_) {
    if (!record.kept) continue;
    std::uint32_t crc = 0;
    if (record.entry.deflated) {
      try {
        if (!inflater) inflater.emplace(std::shared_ptr<ReadAdapterInterface>(this, [](auto*) {}));
        const auto [data, size] = inflater->getRecord(record.name);
        const std::span bytes(static_cast<const std::byte*>(data.get()), size);
        crc = base::crc32(bytes);
        if (size != record.entry.size) refuse("\"" + record.name + "\" of another size than it states");
        if (is_source(record.name) || is_pickle(record.name)) inflated_[&record].assign(bytes.begin(), bytes.end());
      } catch (const std::exception&) {
        base::rethrow_unless_about_input("unpacking");
        refuse("\"" + record.name + "\" damaged: it cannot be unpacked");
      }
    } else {
      crc = base::crc32(content(record));
    }
    if (crc != record.entry.crc) refuse("\"" + record.name + "\" damaged: its CRC-32 does not hold");
    record.read = true;
  }
}

void Archive::check_version() const {
  // Files of the operators' newer versions (gelu is one) have it in another place, which LibTorch prefers.
  const auto* const newer = find(".data/version");
  const auto* const record = newer ? newer : find("version");
  if (!record) refuse("none of its format version");
  if (record->entry.deflated) return;  // LibTorch will look
  auto text = as_text(content(*record));
  while (text.ends_with('\n')) text.remove_suffix(1);
  std::uint64_t version = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (error != std::errc() || end != text.data() + text.size()) refuse("a format version that is no number");
  constexpr auto kNewest = caffe2::serialize::kMaxSupportedFileFormatVersion;
  if (version > kNewest)
    throw Error(ErrorCode::kFormat, "expected a TorchScript file of format version " + std::to_string(kNewest) +
                                        " at most, as this LibTorch reads, found version " + std::to_string(version) +
                                        ": it was saved by a newer PyTorch");
}

void Archive::check_sizes() const {
  const auto limit = [](std::string_view what, std::uint64_t found, std::uint64_t most) {
    if (found > most)
      throw Error(ErrorCode::kLimit, std::string(what) + ": expected at most " + std::to_string(most) +
                                         " bytes, found " + std::to_string(found) + " (ArchiveLimits)");
  };
  std::uint64_t source = 0;
  for (const auto& [name, record] : names_) {
    if (is_source(name)) source += record->entry.size;
    if (is_pickle(name)) limit(name, record->entry.size, limits_.pickle_bytes);
  }
  limit("its source", source, limits_.code_bytes);
}

void Archive::check_code() const {
  for (const auto& [name, record] : names_)
    if (is_source(name) && nesting(as_text(content(*record))) > kDeepestNesting)
      throw Error(ErrorCode::kLimit,
                  "\"" + name + "\": expected expressions nested at most " + std::to_string(kDeepestNesting) + " deep");
}

void Archive::check_pickle_record(std::string_view record, const std::string& tensors) const {
  const auto& pickle = *find(record);
  const auto storage_size = [&](std::string_view key) -> std::optional<std::uint64_t> {
    const auto* const storage = find(tensors + std::string(key));
    return storage ? std::optional(storage->entry.size) : std::nullopt;
  };
  std::uint64_t stored = 0;
  for (const auto& [name, storage] : names_)
    if (name.starts_with(tensors)) stored += storage->entry.size;
  base::named("\"" + std::string(record) + "\"",
              [&] { check_pickle(content(pickle), storage_size, kMostReferences * stored); });
}

void Archive::read_tensor(const Record& record, std::span<std::byte> out) const {
  std::uint32_t crc = 0;
  for (std::size_t at = 0; at < out.size(); at += kChunk) {
    const auto chunk = out.subspan(at, std::min(kChunk, out.size() - at));
    source_.read(record.entry.data + at, chunk);
    crc = base::crc32(chunk, crc);
  }
  if (crc != record.entry.crc) refuse("\"" + record.name + "\" damaged: its CRC-32 does not hold");
  record.read = true;
}

std::size_t Archive::read(std::uint64_t position, void* out, std::size_t count, const char*) const {
  if (position >= source_.size()) return 0;
  count = static_cast<std::size_t>(std::min<std::uint64_t>(count, source_.size() - position));
  const std::span bytes(static_cast<std::byte*>(out), count);
  if (const auto kept = kept_bytes(position, count); kept.size() == count) {
    std::ranges::copy(kept, bytes.begin());
    return count;
  }
  try {  // not through LibTorch's reader, which is C in part
    const auto record = records_.find(position);
    if (record != records_.end() && !record->second.kept && record->second.entry.packed == count) {
      read_tensor(record->second, bytes);
    } else if (position + count == source_.size() && count <= kTail) {
      source_.read(position, bytes);  // in search of the end record, which the last bytes are
    } else {
      refuse("a part of it asked for that is none");
    }
    return count;
  } catch (...) {
    if (!failure_) failure_ = std::current_exception();
    return 0;
  }
}

void Archive::finish() {
  base::named(name_, [&] {
    for (const auto& [at, record] : records_) {
      if (failure_) std::rethrow_exception(failure_);
      if (record.read) continue;
      std::vector<std::byte> unused(record.entry.packed);
      read_tensor(record, unused);
    }
  });
}

}  // namespace graft::graph
