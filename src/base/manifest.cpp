#include "base/manifest.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <graft/error.h>

#include "base/byte_source.h"
#include "base/sha256.h"
#include "base/text.h"

namespace graft::base {

namespace {

constexpr std::uint64_t kLargest = 16 << 20;
constexpr std::size_t kHash = 64;

struct Line {
  std::string hash, name;
};

/// "HASH  NAME", or "HASH *NAME" for a file read as binary, which is the same.
Line parse(std::string_view line, const std::string& where) {
  const auto hexadecimal = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
  };
  if (line.size() < kHash + 3 || !std::ranges::all_of(line.substr(0, kHash), hexadecimal) || line[kHash] != ' ' ||
      (line[kHash + 1] != ' ' && line[kHash + 1] != '*'))
    throw Error(ErrorCode::kFormat,
                where + ": expected 64 hexadecimal digits, two spaces and a name, as sha256sum writes");
  return {lower_case(line.substr(0, kHash)), std::string(line.substr(kHash + 2))};
}

std::vector<Line> read_manifest(const std::filesystem::path& path) {
  const auto bytes = read_file(path, kLargest);
  std::string_view rest(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::vector<Line> lines;
  for (std::size_t number = 1; !rest.empty(); ++number) {
    const auto end = std::min(rest.find('\n'), rest.size());
    auto line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) lines.push_back(parse(line, path.string() + ", line " + std::to_string(number)));
  }
  return lines;
}

}  // namespace

void check_listed(const std::filesystem::path& manifest, const std::filesystem::path& path,
                  std::span<const std::byte> bytes) {
  const auto lines = read_manifest(manifest);
  const auto folder = std::filesystem::absolute(manifest).parent_path();
  const auto wanted = std::filesystem::weakly_canonical(path);
  const auto line = std::ranges::find_if(
      lines, [&](const Line& listed) { return std::filesystem::weakly_canonical(folder / listed.name) == wanted; });
  if (line == lines.end())
    throw Error(ErrorCode::kMismatch, path.string() + ": expected a file that " + manifest.string() +
                                          " lists, found it is none of its " + std::to_string(lines.size()));
  if (const auto found = Sha256().update(bytes).hex(); found != line->hash)
    throw Error(ErrorCode::kMismatch, path.string() + ": expected SHA-256 " + line->hash + " as " + manifest.string() +
                                          " states, found " + found);
}

}  // namespace graft::base
