/// A file given as TorchScript, checked before LibTorch sees it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <caffe2/serialize/read_adapter_interface.h>

#include <graft/limits.h>

#include "base/byte_source.h"
#include "graph/zip.h"

namespace graft::graph {

/// Whole, unchanged (CRC-32 of every entry), within limits, and as TorchScript's writer makes it: that is found out
/// when it is made, but for the CRCs of the tensors' bytes, which are computed while LibTorch reads them. Everything
/// else is kept in memory: what LibTorch reads are the bytes that were checked, also if the file changes meanwhile.
class Archive final : public caffe2::serialize::ReadAdapterInterface {
 public:
  /// Throws Error: kFormat for empty, foreign, damaged or truncated files (naming what they look like) and a format
  /// version that is too new, kMismatch for a state dict or safetensors, which hold no network, kLimit, kIo. `source`
  /// has to stay. `name` is how messages call it.
  Archive(const base::ByteSource& source, std::string_view name, const ArchiveLimits& limits);

  /// Once LibTorch has read what it wants: checks the rest, and throws Error kFormat or kIo if anything that was read
  /// was not as it should be.
  void finish();

  // For LibTorch.
  std::size_t size() const override { return source_.size(); }
  std::size_t read(std::uint64_t position, void* out, std::size_t count, const char* what) const override;

 private:
  struct Record {
    ZipEntry entry;
    std::string name;           ///< inside the archive's folder
    bool kept = false;          ///< its bytes are in memory, checked or about to be
    mutable bool read = false;  ///< its CRC holds
  };

  void read_directory();
  void classify() const;
  void check_sizes() const;
  void keep();
  void check_kept();
  void check_version() const;
  void check_code() const;
  void check_pickle_record(std::string_view record, const std::string& tensors) const;
  const Record* find(std::string_view record) const;
  std::span<const std::byte> kept_bytes(std::uint64_t begin, std::uint64_t count) const;
  std::span<const std::byte> content(const Record& record) const;
  void read_tensor(const Record& record, std::span<std::byte> out) const;
  [[noreturn]] void refuse(const std::string& found) const;

  const base::ByteSource& source_;
  std::string name_;
  ArchiveLimits limits_;
  std::map<std::uint64_t, Record> records_;                  ///< by where their bytes are
  std::map<std::string, const Record*, std::less<>> names_;  ///< the same by name
  std::map<std::uint64_t, std::vector<std::byte>> kept_;     ///< parts of the file, by where they begin
  std::map<const Record*, std::vector<std::byte>> inflated_;
  mutable std::exception_ptr failure_;  ///< the first one while LibTorch read
};

}  // namespace graft::graph
