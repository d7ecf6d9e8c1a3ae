#include "graph/zip.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <unordered_set>

#include <graft/error.h>

#include "base/little_endian.h"
#include "base/text.h"

namespace graft::graph {

namespace {

constexpr std::uint32_t kLocalHeader = 0x04034b50, kCentralHeader = 0x02014b50, kDescriptor = 0x08074b50;
constexpr std::uint32_t kEnd = 0x06054b50, kEnd64 = 0x06064b50, kEnd64Locator = 0x07064b50;
constexpr std::uint64_t kEndSize = 22, kLocatorSize = 20, kEnd64Size = 56;
constexpr std::uint64_t kLocalSize = 30, kCentralSize = 46;
constexpr std::uint16_t kZip64Extra = 1, kPaddingExtra = 0x4246;   // "FB": PyTorch's
constexpr std::uint16_t kHasDescriptor = 8, kKnownFlags = 0x080e;  // descriptor, how hard it was deflated, UTF-8
constexpr std::uint32_t kIn64 = 0xffffffff;                        // the number is in the zip64 extra field
constexpr std::uint64_t kLongestName = 4096, kLargestDirectory = std::uint64_t{64} << 20;
constexpr std::uint64_t kRatioMatters = std::uint64_t{1} << 20, kTotalRatioMatters = std::uint64_t{64} << 20;

[[noreturn]] void damaged(const std::string& what) {
  throw Error(ErrorCode::kFormat, "expected a whole zip archive, found one that is damaged or cut off: " + what);
}

[[noreturn]] void damaged(std::string_view entry, const std::string& what) {
  damaged("\"" + std::string(entry) + "\" " + what);
}

/// Little-endian numbers, one after the other.
class Fields {
 public:
  explicit Fields(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::size_t left() const { return bytes_.size(); }
  std::span<const std::byte> take(std::size_t count) {
    if (count > bytes_.size()) damaged("a record of its directory is incomplete");
    const auto taken = bytes_.first(count);
    bytes_ = bytes_.subspan(count);
    return taken;
  }
  template <class Number>
  Number number() {
    return static_cast<Number>(base::little_endian(take(sizeof(Number))));
  }
  std::uint16_t u16() { return number<std::uint16_t>(); }
  std::uint32_t u32() { return number<std::uint32_t>(); }
  std::uint64_t u64() { return number<std::uint64_t>(); }
  std::string text(std::size_t count) {
    const auto bytes = take(count);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

 private:
  std::span<const std::byte> bytes_;
};

struct End {
  std::uint64_t entries = 0, size = 0, begin = 0;  ///< of the directory
  std::uint64_t end = 0;                           ///< where the records behind the directory begin
};

/// What both headers of an entry state.
struct Header {
  std::uint16_t needed = 0, flags = 0, method = 0, time = 0, date = 0;
  std::uint32_t crc = 0;
  std::uint64_t packed = 0, size = 0;

  void read(Fields& in) {
    needed = in.u16();
    flags = in.u16();
    method = in.u16();
    time = in.u16();
    date = in.u16();
    crc = in.u32();
    packed = in.u32();
    size = in.u32();
  }
  bool same_kind(const Header& o) const {
    return needed == o.needed && flags == o.flags && method == o.method && time == o.time && date == o.date;
  }
  bool same_sizes(const Header& o) const { return crc == o.crc && packed == o.packed && size == o.size; }
};

/// An entry of the directory.
struct Central : Header {
  std::uint16_t made_by = 0, internal = 0;
  std::uint32_t external = 0;
  std::uint64_t offset = 0;
  std::string name;
};

class Reader {
 public:
  Reader(const base::ByteSource& source, const ArchiveLimits& limits) : source_(source), limits_(limits) {}

  std::vector<ZipEntry> read() {
    const End end = read_end();
    read_central(end);
    check_names();
    check_limits();
    // In the order of the bytes: each entry has to end where the next one begins.
    std::ranges::sort(central_, {}, &Central::offset);
    if (central_[0].offset != 0) damaged("there are bytes in front of its first entry");
    std::vector<ZipEntry> entries;
    for (std::size_t i = 0; i < central_.size(); ++i)
      entries.push_back(read_local(central_[i], i + 1 < central_.size() ? central_[i + 1].offset : end.begin));
    return entries;
  }

 private:
  End read_end() const {
    const auto size = source_.size();
    if (size < kEndSize) damaged("it has no end record");
    const auto tail = source_.read(size - kEndSize, kEndSize);
    Fields in(tail);
    if (in.u32() != kEnd) damaged("it does not close with an end record");
    const auto disk = in.u16(), first_disk = in.u16(), here = in.u16(), entries = in.u16();
    const auto bytes = in.u32(), begin = in.u32();
    if (disk != 0 || first_disk != 0 || here != entries || in.u16() != 0) damaged("its end record contradicts itself");
    End end{.entries = entries, .size = bytes, .begin = begin, .end = size - kEndSize};
    if (auto large = read_end64()) {
      if (!fits(entries, large->entries, std::uint16_t{0xffff}) || !fits(bytes, large->size, kIn64) ||
          !fits(begin, large->begin, kIn64))
        damaged("its two end records differ");
      end = *large;
    }
    if (end.size > end.end || end.begin != end.end - end.size) damaged("its directory is not where it should be");
    return end;
  }

  template <class Number>
  static bool fits(Number small, std::uint64_t large, Number elsewhere) {
    return small == large || small == elsewhere;
  }

  std::optional<End> read_end64() const {
    const auto size = source_.size();
    if (size < kEndSize + kLocatorSize + kEnd64Size) return std::nullopt;
    const auto begin = size - kEndSize - kLocatorSize - kEnd64Size;
    const auto bytes = source_.read(begin, kEnd64Size + kLocatorSize);
    Fields locator(std::span<const std::byte>(bytes).last(kLocatorSize));
    if (locator.u32() != kEnd64Locator) return std::nullopt;
    if (locator.u32() != 0 || locator.u64() != begin || locator.u32() != 1) damaged("its zip64 locator is wrong");
    Fields in{bytes};
    if (in.u32() != kEnd64 || in.u64() != kEnd64Size - 12) damaged("its zip64 end record is wrong");
    const auto made_by = in.u16(), needed = in.u16();
    if ((made_by != 0x031e && made_by != 45) || needed != 45) damaged("its zip64 end record is of another version");
    const auto disk = in.u32(), first_disk = in.u32();
    const auto here = in.u64(), entries = in.u64(), directory = in.u64(), offset = in.u64();
    if (disk != 0 || first_disk != 0 || here != entries) damaged("its zip64 end record contradicts itself");
    return End{.entries = entries, .size = directory, .begin = offset, .end = begin};
  }

  void read_central(const End& end) {
    if (end.entries == 0) throw Error(ErrorCode::kFormat, "expected a TorchScript file, found an empty zip archive");
    limit(end.entries, limits_.records, "records");
    limit(end.size, kLargestDirectory, "bytes of directory");
    const auto bytes = source_.read(end.begin, end.size);
    Fields in{bytes};
    for (std::uint64_t i = 0; i < end.entries; ++i) central_.push_back(read_entry(in));
    if (in.left() != 0) damaged("its directory is longer than its entries");
    check_attributes();
  }

  static Central read_entry(Fields& in) {
    Central entry;
    if (in.u32() != kCentralHeader) damaged("an entry of its directory is not one");
    entry.made_by = in.u16();
    entry.read(in);
    const auto name = in.u16(), extra = in.u16(), comment = in.u16(), disk = in.u16();
    entry.internal = in.u16();
    entry.external = in.u32();
    entry.offset = in.u32();
    entry.name = in.text(name);
    Fields fields(in.take(extra));
    read_zip64(fields, {&entry.size, &entry.packed, &entry.offset}, entry.name, nullptr);
    if (comment != 0 || disk != 0) damaged(entry.name, "has a comment or lies in another file");
    if (entry.flags & ~kKnownFlags) damaged(entry.name, "is encrypted or of an unknown kind");
    if (entry.method != 0 && entry.method != 8)
      damaged(entry.name, "is packed by method " + std::to_string(entry.method) + ", expected stored or deflated");
    return entry;
  }

  /// Numbers that are too large for their fields stand in an extra field, in this order. The one of a local header says
  /// the same as `central` or nothing, also where the fields are zero, and may have PyTorch's padding beside it, all
  /// "Z".
  static void read_zip64(Fields& extra, std::initializer_list<std::uint64_t*> numbers, std::string_view name,
                         const Central* central) {
    bool found = false;
    while (extra.left() != 0) {
      const auto id = extra.u16();
      Fields field(extra.take(extra.u16()));
      if (id == kZip64Extra && !found) {
        found = true;
        for (auto* number : numbers)
          if (*number == kIn64) *number = field.u64();
        while (central && field.left() != 0)
          if (const auto number = field.u64();
              number != 0 && number != central->size && number != central->packed && number != central->offset)
            damaged(name, "is described in two ways");
        if (field.left() != 0) damaged(name, "has a zip64 field of another size");
      } else if (id == kPaddingExtra && central) {
        const auto padding = field.take(field.left());
        if (!std::ranges::all_of(padding, [](auto byte) { return byte == std::byte{'Z'}; }))
          damaged(name, "has padding with something in it");
      } else {
        damaged(name, "has an extra field that TorchScript files have not");
      }
    }
    if (!found && std::ranges::any_of(numbers, [](const auto* number) { return *number == kIn64; }))
      damaged(name, "has no zip64 field");
  }

  /// Attributes mean nothing here. PyTorch writes zeros, others the same for all; so a changed bit shows.
  void check_attributes() const {
    for (const auto& entry : central_) {
      if (entry.made_by != central_[0].made_by) damaged(entry.name, "was made by another program than the rest");
      if (entry.made_by == 0 && (entry.internal != 0 || entry.external != 0)) damaged(entry.name, "has attributes");
    }
  }

  void check_names() const {
    std::unordered_set<std::string> seen;  // LibTorch's reader knows no case
    for (const auto& entry : central_) {
      const std::string_view name = entry.name;
      const bool control = std::ranges::any_of(name, [](unsigned char c) { return c < ' ' || c == 127 || c == '\\'; });
      if (name.empty() || name.size() > kLongestName || control || name.ends_with('/'))
        throw Error(ErrorCode::kFormat, "expected names of files in the archive, found one of " +
                                            std::to_string(name.size()) + " bytes that is none");
      if (name.starts_with('/') || (name.size() > 1 && name[1] == ':') ||
          ("/" + entry.name + "/").find("/../") != std::string::npos)
        throw Error(ErrorCode::kFormat,
                    "expected names inside the archive, found \"" + entry.name + "\", which leads out of it");
      if (!seen.insert(base::lower_case(entry.name)).second)
        throw Error(ErrorCode::kFormat, "expected one entry of each name, found \"" + entry.name + "\" twice");
    }
  }

  void check_limits() const {
    std::uint64_t total = 0;
    for (const auto& entry : central_) {
      check_ratio("\"" + entry.name + "\"", entry.size, std::min(entry.packed, source_.size()), kRatioMatters);
      if (entry.packed > source_.size()) damaged(entry.name, "is longer than the file");
      if (entry.method == 0 && entry.packed != entry.size) damaged(entry.name, "is stored, but of two sizes");
      limit(entry.size, limits_.total_bytes - total, "bytes in all records");
      total += entry.size;
    }
    check_ratio("all records", total, source_.size(), kTotalRatioMatters);
  }

  void check_ratio(const std::string& of_what, std::uint64_t size, std::uint64_t packed, std::uint64_t matters) const {
    if (size > matters && size / std::max<std::uint64_t>(limits_.compression_ratio, 1) > packed)
      throw Error(ErrorCode::kLimit, of_what + ": expected at most " + std::to_string(limits_.compression_ratio) +
                                         " times the size in the file, found " + std::to_string(size) + " bytes from " +
                                         std::to_string(packed) + " (ArchiveLimits)");
  }

  static void limit(std::uint64_t found, std::uint64_t most, const char* of_what) {
    if (found > most)
      throw Error(ErrorCode::kLimit, "expected at most " + std::to_string(most) + " " + of_what + ", found " +
                                         std::to_string(found) + " (ArchiveLimits)");
  }

  /// `end`: where the next entry begins, or the directory.
  ZipEntry read_local(const Central& central, std::uint64_t end) const {
    const auto& name = central.name;
    if (central.offset > end || end - central.offset < kLocalSize) damaged(name, "overlaps another entry");
    const auto start = source_.read(central.offset, kLocalSize);
    Fields in{start};
    if (in.u32() != kLocalHeader) damaged(name, "does not begin with its header");
    Header local;
    local.read(in);
    const std::uint64_t name_size = in.u16(), extra_size = in.u16();
    const auto data = central.offset + kLocalSize + name_size + extra_size;
    if (data > end || central.packed > end - data) damaged(name, "overlaps another entry");
    const auto rest = source_.read(central.offset + kLocalSize, name_size + extra_size);
    Fields behind{rest};
    if (behind.text(name_size) != name) damaged(name, "has another name in its own header");
    Fields extra(behind.take(extra_size));
    read_zip64(extra, {&local.size, &local.packed}, name, &central);
    const bool has_descriptor = (central.flags & kHasDescriptor) != 0;
    const bool left_out = has_descriptor && local.crc == 0 && local.packed == 0 && local.size == 0;
    if (!local.same_kind(central) || !(left_out || local.same_sizes(central)))
      damaged(name, "is described in two ways");
    check_descriptor(central, has_descriptor, data + central.packed, end);
    return {.name = name,
            .deflated = central.method != 0,
            .crc = central.crc,
            .size = central.size,
            .data = data,
            .packed = central.packed};
  }

  void check_descriptor(const Central& central, bool has_one, std::uint64_t begin, std::uint64_t end) const {
    const auto size = end - begin;
    if (!has_one && size == 0) return;
    if (!has_one || (size != 16 && size != 24)) damaged(central.name, "is followed by bytes that belong to nothing");
    const auto bytes = source_.read(begin, size);
    Fields in{bytes};
    Header stated;
    const bool is_one = in.u32() == kDescriptor;
    stated.crc = in.u32();
    stated.packed = size == 24 ? in.u64() : in.u32();
    stated.size = size == 24 ? in.u64() : in.u32();
    if (!is_one || !stated.same_sizes(central)) damaged(central.name, "is described in two ways");
  }

  const base::ByteSource& source_;
  const ArchiveLimits& limits_;
  std::vector<Central> central_;
};

}  // namespace

std::vector<ZipEntry> read_zip(const base::ByteSource& source, const ArchiveLimits& limits) {
  return Reader(source, limits).read();
}

}  // namespace graft::graph
