#include "graph/archive.h"

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

#include <caffe2/serialize/inline_container.h>

#include <graft/error.h>

#include "base/translate.h"
#include "graph/memory_reader.h"

namespace graft::graph {

namespace {

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool contains_ignoring_case(std::string_view text, std::string_view lower) {
  const auto equal = [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; };
  return std::search(text.begin(), text.end(), lower.begin(), lower.end(), equal) != text.end();
}

/// Safetensors begin with the length of a JSON object, little-endian, and the object itself.
bool looks_like_safetensors(std::span<const std::byte> bytes) {
  if (bytes.size() < 10) return false;
  std::uint64_t length = 0;
  for (int i = 7; i >= 0; --i)
    length = length << 8 | std::to_integer<std::uint64_t>(bytes[static_cast<std::size_t>(i)]);
  return bytes[8] == std::byte{'{'} && length <= bytes.size() - 8;
}

[[noreturn]] void refuse(ErrorCode code, std::string_view name, std::string_view found) {
  throw Error(code, std::string(name) + ": expected a TorchScript file (torch.jit.save), found " + std::string(found));
}

void check_is_zip(std::span<const std::byte> bytes, std::string_view name) {
  const auto head = as_text(bytes.first(std::min<std::size_t>(bytes.size(), 1024)));
  if (bytes.empty()) refuse(ErrorCode::kFormat, name, "an empty file");
  if (head.starts_with(std::string_view("PK\x03\x04", 4))) return;
  if (head.starts_with("version https://git-lfs"))
    refuse(ErrorCode::kFormat, name, "a Git LFS pointer: the file itself was not fetched (git lfs pull)");
  if (contains_ignoring_case(head, "<html") || contains_ignoring_case(head, "<!doctype"))
    refuse(ErrorCode::kFormat, name, "an HTML page: probably a download's error page");
  if (looks_like_safetensors(bytes))
    refuse(ErrorCode::kMismatch, name,
           "safetensors: weights without a network; export with models/export_torchscript.py");
  if (head.size() >= 2 && head[0] == '\x80' && head[1] >= 2 && head[1] <= 5)
    refuse(ErrorCode::kFormat, name, "a pickle of the old torch.save format; export with models/export_torchscript.py");
  if (head.size() > 262 && head.substr(257, 5) == "ustar")
    refuse(ErrorCode::kFormat, name, "a tar archive of the old torch.save format");
  if (head.starts_with("PK")) refuse(ErrorCode::kFormat, name, "a zip archive that is cut off or empty");
  const bool text = std::all_of(head.begin(), head.end(),
                                [](char c) { return c == '\n' || c == '\r' || c == '\t' || (c >= ' ' && c != 127); });
  refuse(ErrorCode::kFormat, name, text ? "a text file" : "something that is no zip archive");
}

}  // namespace

void check_archive(std::span<const std::byte> archive, std::string_view name) {
  check_is_zip(archive, name);

  std::vector<std::string> records;
  try {
    caffe2::serialize::PyTorchStreamReader reader(std::make_shared<MemoryReader>(archive));
    records = reader.getAllRecords();
  } catch (const std::exception&) {
    refuse(ErrorCode::kFormat, name, "a zip archive that is damaged or cut off");
  }
  const auto has = [&](auto predicate) { return std::any_of(records.begin(), records.end(), predicate); };
  const bool has_code = has([](const std::string& record) { return record.starts_with("code/"); });
  const bool has_constants = has([](const std::string& record) { return record == "constants.pkl"; });
  const bool has_data = has([](const std::string& record) { return record == "data.pkl"; });
  if (has_code && has_constants && has_data) return;
  if (has_data)
    refuse(ErrorCode::kMismatch, name,
           "a state dict or pickled module (torch.save), not TorchScript: it holds no network; export with "
           "models/export_torchscript.py --weights FILE.pth");
  refuse(ErrorCode::kFormat, name, "a zip archive without TorchScript code");
}

}  // namespace graft::graph
