#include "base/safetensors.h"

#include <array>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <graft/error.h>

#include "base/byte_source.h"
#include "base/files.h"
#include "base/little_endian.h"
#include "base/sha256.h"

namespace graft::base {

namespace {

using Json = nlohmann::json;

constexpr const char* kMetadata = "__metadata__";
constexpr const char* kDigestKey = "graft_sha256";
constexpr std::size_t kDigest = 64;
constexpr std::size_t kPrefix = 8;
constexpr std::size_t kLargestHeader = 100'000'000;  // the format's own limit

struct Type {
  const char* name;
  at::ScalarType type;
};
constexpr std::array kTypes{Type{"F64", at::kDouble}, Type{"F32", at::kFloat},     Type{"F16", at::kHalf},
                            Type{"I64", at::kLong},   Type{"BF16", at::kBFloat16}, Type{"I32", at::kInt},
                            Type{"I16", at::kShort},  Type{"I8", at::kChar},       Type{"U8", at::kByte},
                            Type{"BOOL", at::kBool}};

std::span<const std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
}

std::array<std::byte, kPrefix> prefix(std::uint64_t size) {
  std::array<std::byte, kPrefix> bytes{};
  for (std::size_t i = 0; i < kPrefix; ++i) bytes[i] = static_cast<std::byte>(size >> (8 * i));
  return bytes;
}

/// Where the digest stands in the header; npos if there is none.
std::size_t digest_at(std::string_view header) {
  const std::string key = std::string("\"") + kDigestKey + "\":\"";
  const auto at = header.find(key);
  return at == std::string_view::npos || at + key.size() + kDigest > header.size() ? std::string_view::npos
                                                                                   : at + key.size();
}

/// Over the whole file, with zeros where the digest stands.
std::string digest(std::string header, std::span<const std::span<const std::byte>> data) {
  header.replace(digest_at(header), kDigest, kDigest, '0');
  Sha256 sha;
  sha.update(prefix(header.size())).update(header);
  for (const auto part : data) sha.update(part);
  return sha.hex();
}

class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& name) : all_(bytes), name_(name) {}

  /// `own`: not one that says nothing of its SHA-256; a changed bit may have made that of it.
  Safetensors read(bool own) {
    if (all_.size() < kPrefix) damaged("is cut off");
    const std::uint64_t size = little_endian(all_.first(kPrefix));
    if (size > kLargestHeader || size > all_.size() - kPrefix) damaged("its header is larger than the file");
    const std::string header(reinterpret_cast<const char*>(all_.data()) + kPrefix, size);
    data_ = all_.subspan(kPrefix + size);
    if (const auto at = digest_at(header); at != std::string::npos) {
      if (header.substr(at, kDigest) != digest(header, std::span(&data_, 1))) damaged("its SHA-256 does not hold");
    } else if (own) {
      damaged("it has no SHA-256");
    }
    const auto json = Json::parse(header, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) damaged("its header is no JSON object");
    Safetensors content;
    for (const auto& [name, entry] : json.items()) {
      if (name != kMetadata) {
        content.tensors.emplace(name, tensor(name, entry));
        continue;
      }
      for (const auto& [key, value] : entry.items())
        if (value.is_string() && key != kDigestKey) content.metadata.emplace(key, value.get<std::string>());
    }
    return content;
  }

 private:
  [[noreturn]] void damaged(const std::string& what) const {
    throw Error(ErrorCode::kFormat, name_ + ": not a whole safetensors file: " + what);
  }

  at::Tensor tensor(const std::string& name, const Json& entry) {
    try {
      const auto& type_name = entry.at("dtype").get_ref<const std::string&>();
      const auto* const type =
          std::find_if(kTypes.begin(), kTypes.end(), [&](const Type& known) { return type_name == known.name; });
      if (type == kTypes.end()) damaged("\"" + name + "\" is of an unknown type, " + type_name);
      const auto shape = entry.at("shape").get<std::vector<std::int64_t>>();
      const auto offsets = entry.at("data_offsets").get<std::array<std::size_t, 2>>();
      if (offsets[0] > offsets[1] || offsets[1] > data_.size() || !is_size(shape, type->type, offsets[1] - offsets[0]))
        damaged("\"" + name + "\" lies outside of it or is of another size");
      used_ += offsets[1] - offsets[0];
      if (used_ > data_.size()) damaged("its tensors overlap");
      auto made = at::empty(shape, type->type);
      if (offsets[1] > offsets[0])
        std::memcpy(made.mutable_data_ptr(), data_.data() + offsets[0], offsets[1] - offsets[0]);
      return made;
    } catch (const Json::exception&) {
      damaged("the entry of \"" + name + "\" is not as it should be");
    }
  }

  static bool is_size(const std::vector<std::int64_t>& shape, at::ScalarType type, std::size_t bytes) {
    std::size_t product = at::elementSize(type);
    for (const auto size : shape) {
      if (size < 0 || __builtin_mul_overflow(product, static_cast<std::size_t>(size), &product)) return false;
    }
    return product == bytes;
  }

  std::span<const std::byte> all_;
  const std::string& name_;
  std::span<const std::byte> data_;
  std::size_t used_ = 0;  ///< bytes of it
};

}  // namespace

void write_safetensors(const std::filesystem::path& path, const Safetensors& content) {
  Json json = Json::object();
  json[kMetadata] = content.metadata;
  json[kMetadata][kDigestKey] = std::string(kDigest, '0');
  std::vector<at::Tensor> tensors;  // whose memory the parts are
  std::vector<std::span<const std::byte>> parts(2);
  std::size_t end = 0;
  for (const auto& [name, tensor] : content.tensors) {
    const auto* const type =
        std::find_if(kTypes.begin(), kTypes.end(),
                     [wanted = tensor.scalar_type()](const Type& known) { return known.type == wanted; });
    if (type == kTypes.end()) throw Error(ErrorCode::kInternal, "safetensors: no name for the type of " + name);
    tensors.push_back(tensor.detach().contiguous());
    parts.push_back(bytes_of(tensors.back()));
    json[name] = {
        {"dtype", type->name}, {"shape", tensor.sizes().vec()}, {"data_offsets", {end, end + parts.back().size()}}};
    end += parts.back().size();
  }
  std::string header;
  try {
    header = json.dump();
  } catch (const Json::type_error&) {
    throw Error(ErrorCode::kFormat, path.string() + ": expected names and texts in UTF-8, found other bytes");
  }
  header.resize((header.size() + kPrefix - 1) / kPrefix * kPrefix, ' ');  // as the format asks: data is aligned
  header.replace(digest_at(header), kDigest, digest(header, std::span(parts).subspan(2)));
  const auto size = prefix(header.size());
  parts[0] = size;
  parts[1] = std::as_bytes(std::span(header));
  write_parts_atomically(path, parts);
}

Safetensors read_own_safetensors(const std::filesystem::path& path) {
  return Reader(read_file(path), path.string()).read(/*own=*/true);
}

Safetensors read_safetensors(std::span<const std::byte> bytes, const std::string& name) {
  return Reader(bytes, name).read(/*own=*/false);
}

}  // namespace graft::base
