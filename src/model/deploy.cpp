#include <graft/deploy.h>

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <system_error>
#include <utility>

#include <c10/util/StringUtil.h>

#include <graft/error.h>
#include <graft/files.h>

#include "base/byte_source.h"
#include "base/translate.h"
#include "model/input.h"

namespace graft {

namespace {

namespace fs = std::filesystem;

void check(const TritonOptions& o) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  };
  if (o.name.empty() || o.name.front() == '.' || !std::all_of(o.name.begin(), o.name.end(), allowed))
    throw Error(ErrorCode::kConfig, "name: expected letters, digits, '_', '-' and '.', found \"" + o.name + "\"");
  if (o.version < 1) throw Error(ErrorCode::kConfig, "version: expected 1 or more, found " + std::to_string(o.version));
  // Triton's field is an int32; 0 would mean that the network has no batch dimension.
  if (o.max_batch_size < 1 || o.max_batch_size > INT32_MAX)
    throw Error(ErrorCode::kConfig,
                "max_batch_size: expected 1 to 2147483647, found " + std::to_string(o.max_batch_size));
}

/// A string as protobuf's text format writes it.
std::string string_literal(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result + "\"";
}

// The fields are those of ModelConfig in triton-inference-server/common, protobuf/model_config.proto. The names of
// input and output follow the backend's convention NAME__INDEX, since TorchScript names neither.
constexpr const char* kConfig = R"(name: @NAME@
backend: "pytorch"
platform: "pytorch_libtorch"
max_batch_size: @MAX_BATCH_SIZE@
input [
  {
    name: "INPUT__0"
    data_type: @TYPE@
    dims: [ @SIZE@ ]
  }
]
output [
  {
    name: "OUTPUT__0"
    data_type: TYPE_FP32
    dims: [ @CLASSES@ ]
    label_filename: "labels.txt"
  }
]
dynamic_batching { }
parameters {
  key: "@HOW@"
  value { string_value: @INPUT@ }
}
)";

std::string config_text(const Model& model, const TritonOptions& o) {
  const auto* p = std::get_if<Preprocessing>(&model.input());
  std::string text = kConfig;
  for (const auto& [place, value] :
       {std::pair<std::string_view, std::string>{"@NAME@", string_literal(o.name)},
        {"@MAX_BATCH_SIZE@", std::to_string(o.max_batch_size)},
        {"@TYPE@", p ? "TYPE_FP32" : "TYPE_INT64"},
        {"@SIZE@", p ? "3, " + std::to_string(p->crop_height_px) + ", " + std::to_string(p->crop_width_px) : "-1"},
        {"@CLASSES@", std::to_string(model.num_classes())},
        {"@HOW@", p ? "graft_preprocessing" : "graft_tokenizer"},
        {"@INPUT@", string_literal(model::input_json(model.input()))}})
    text.replace(text.find(place), place.size(), value);
  return text;
}

std::string labels_text(const std::vector<Label>& labels) {
  std::string text;
  for (const auto& label : labels) {
    const auto& name = label.name.empty() ? label.id : label.name;
    if (name.find_first_of("\r\n") != std::string::npos)
      throw Error(ErrorCode::kMismatch, "the label \"" + name + "\" has a line break, which labels.txt cannot hold");
    text += name + "\n";
  }
  return text;
}

/// Whether `path` holds other bytes than these; false where there is no such file.
bool differs(const fs::path& path, std::string_view text) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return false;
  const auto bytes = base::read_file(path);
  return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()) != text;
}

void create_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) throw Error(ErrorCode::kIo, path.string() + ": cannot create the folder: " + error.message());
}

/// Writes files into a folder for the version. If one cannot be written, those that are new are removed, and the
/// folders as far as they are empty.
template <class Write>
void all_or_none(const TritonModel& files, Write&& write) {
  std::error_code ignored;
  std::vector<fs::path> fresh;
  for (const auto& file : {files.model, files.labels, files.config})
    if (!fs::exists(file, ignored)) fresh.push_back(file);
  const auto version = files.model.parent_path();
  create_folder(version);
  try {
    write();
  } catch (...) {
    for (const auto& file : fresh) fs::remove(file, ignored);
    if (fs::remove(version, ignored)) fs::remove(version.parent_path(), ignored);
    throw;
  }
}

}  // namespace

TritonModel export_triton(const Model& model, const fs::path& repository, const TritonOptions& options) {
  return base::translated("exporting for Triton", [&] {
    check(options);
    if (model.is_training())
      throw Error(ErrorCode::kConfig, "the model is in training mode; call eval() before exporting");
    const auto folder = repository / options.name;
    const auto version = folder / std::to_string(options.version);
    const TritonModel files{folder / "config.pbtxt", folder / "labels.txt", version / "model.pt"};
    const auto config = config_text(model, options);
    const auto labels = labels_text(model.labels());

    if (!options.replace) {
      std::error_code ignored;
      if (fs::exists(files.model, ignored))
        throw Error(ErrorCode::kConfig, version.string() +
                                            ": this version is there already; give another version, or "
                                            "ask for it to be replaced");
      for (const auto& [path, text] : {std::pair(files.config, &config), std::pair(files.labels, &labels)})
        if (differs(path, *text))
          throw Error(ErrorCode::kConfig, path.string() +
                                              ": is there already and says something else, which the other "
                                              "versions use; ask for it to be replaced");
    }
    all_or_none(files, [&] {
      model.save(files.model);
      write_atomically(files.labels, labels);
      write_atomically(files.config, config);
    });
    return files;
  });
}

}  // namespace graft
