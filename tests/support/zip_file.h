/// Zip archives for tests, as PyTorch's writer makes them but stored throughout, with everything a test may want wrong.
#pragma once

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_source.h"
#include "base/crc32.h"
#include "graph/zip.h"

namespace graft::testing {

struct ZipRecord {
  std::string name, content;
  std::uint16_t method = 0;
  std::uint64_t stated_size = 0;  ///< where it is not the content's
  std::uint32_t stated_crc = 0;   ///< the same
};

class ZipFile {
 public:
  std::vector<ZipRecord> records;

  ZipFile() = default;
  static ZipFile read(std::string_view archive) {
    ZipFile file;
    for (const auto& entry : graph::read_zip(base::MemorySource(std::as_bytes(std::span(archive))), {})) {
      file.records.push_back({entry.name, std::string(archive.substr(entry.data, entry.packed))});
      if (entry.deflated) {
        file.records.back().method = 8;
        file.records.back().stated_size = entry.size;
        file.records.back().stated_crc = entry.crc;
      }
    }
    return file;
  }

  /// A record's new content, stored.
  void put(std::string_view end, std::string content) {
    auto& record = at(end);
    record = {record.name, std::move(content)};
  }

  /// The record whose name ends so.
  ZipRecord& at(std::string_view end) {
    for (auto& record : records)
      if (record.name.ends_with(end)) return record;
    throw std::runtime_error("no record " + std::string(end));
  }

  std::string bytes() const {
    std::string out, directory;
    for (const auto& record : records) {
      const auto crc = record.stated_crc ? record.stated_crc : base::crc32(std::as_bytes(std::span(record.content)));
      const auto size = record.stated_size ? record.stated_size : record.content.size();
      const auto offset = out.size();
      const std::string common = number(20, 2) + number(0, 2) + number(record.method, 2) + number(0, 4) +
                                 number(crc, 4) + number(record.content.size(), 4) + number(size, 4) +
                                 number(record.name.size(), 2) + number(0, 2);
      out += number(0x04034b50, 4) + common + record.name + record.content;
      directory += number(0x02014b50, 4) + number(0, 2) + common + number(0, 2) + number(0, 2) + number(0, 2) +
                   number(0, 4) + number(offset, 4) + record.name;
    }
    const auto begin = out.size();
    out += directory;
    out += number(0x06054b50, 4) + number(0, 4) + number(records.size(), 2) + number(records.size(), 2) +
           number(directory.size(), 4) + number(begin, 4) + number(0, 2);
    return out;
  }

  static std::string number(std::uint64_t value, int bytes) {
    std::string text;
    for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 255);
    return text;
  }
};

}  // namespace graft::testing
