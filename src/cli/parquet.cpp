#include "cli/parquet.h"

#include <functional>
#include <new>
#include <string_view>

#include <dlfcn.h>

#include <graft/graft.h>

#include "cli/json.h"

namespace graft::cli {

namespace {

constexpr const char* kHowToGet =
    "; Parquet is written where Graft was built with Apache Arrow: pip install pyarrow beside LibTorch, or the "
    "development packages of Arrow and Parquet, and -DGRAFT_WITH_PARQUET=ON";

const ParquetModule* load_module() {
  // Found by the program's run path. Never unloaded: Arrow's libraries are not made for that.
  void* const library = ::dlopen(kParquetModuleFile, RTLD_NOW | RTLD_LOCAL);
  if (!library) throw Error(ErrorCode::kConfig, "--format parquet: " + std::string(::dlerror()) + kHowToGet);
  const auto function = reinterpret_cast<const ParquetModule* (*)()>(::dlsym(library, kParquetModuleFunction));
  const auto* const module = function ? function() : nullptr;
  if (!module || module->version != std::string_view(GRAFT_VERSION))
    throw Error(ErrorCode::kConfig, std::string("--format parquet: ") + kParquetModuleFile + " is of Graft " +
                                        (module ? module->version : "unknown") + ", expected " + GRAFT_VERSION);
  return module;
}

/// Valid UTF-8, as the lines of JSON have it.
void replace_invalid(std::string& text) {
  for (const char c : text)
    if (static_cast<unsigned char>(c) >= 0x80) {
      text = nlohmann::json::parse(compact(text)).get<std::string>();
      return;
    }
}

void write(const std::filesystem::path& path, const std::function<std::string()>& make) {
  std::string bytes;
  try {
    bytes = make();
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::kOutOfMemory, path.string() + ": no memory for a Parquet file");
  } catch (const std::exception& error) {
    throw Error(ErrorCode::kInternal, path.string() + ": Apache Arrow: " + error.what());
  }
  write_atomically(path, bytes);
}

}  // namespace

ParquetWriter::ParquetWriter() : module_(load_module()) {}

void ParquetWriter::describe(const std::map<std::string, std::string>& about) {
  metadata_ = {
      {"graft.version", GRAFT_VERSION}, {"graft.model_sha256", about.at("model")}, {"graft.about", compact(about)}};
}

void ParquetWriter::write_answers(const std::filesystem::path& path, std::span<AnswerRow> rows) const {
  for (auto& row : rows) {
    replace_invalid(row.file);
    if (row.error) replace_invalid(*row.error);
    for (auto& guess : row.top) {
      replace_invalid(guess.id);
      replace_invalid(guess.label);
    }
  }
  write(path, [&] { return module_->answers(rows, metadata_); });
}

void ParquetWriter::write_features(const std::filesystem::path& path, std::span<std::string> files,
                                   const at::Tensor& rows) const {
  for (auto& file : files) replace_invalid(file);
  const auto values = rows.contiguous();
  write(path, [&] {
    return module_->features(files, {values.const_data_ptr<float>(), static_cast<std::size_t>(values.numel())},
                             metadata_);
  });
}

}  // namespace graft::cli
