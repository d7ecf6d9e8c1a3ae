#include "model/labels.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include <nlohmann/json.hpp>

#include <graft/error.h>

#include "base/byte_source.h"
#include "base/text.h"
#include "base/translate.h"
#include "model/imagenet1k.h"
#include "model/task.h"

namespace graft {

namespace model {

std::vector<Label> numbered_labels(std::int64_t classes) {
  std::vector<Label> labels;
  for (std::int64_t i = 0; i < classes; ++i) labels.push_back({std::to_string(i), std::to_string(i)});
  return labels;
}

void check_labels(const std::vector<Label>& labels, const std::vector<Task>& tasks) {
  if (std::ssize(labels) != outputs_of(tasks))
    throw Error(ErrorCode::kMismatch, "labels: expected " + std::to_string(outputs_of(tasks)) +
                                          ", one for each output, found " + std::to_string(labels.size()));
  for (const auto& label : labels)
    for (const auto& name : {label.id, label.name})
      if (!base::is_utf8(name))
        throw Error(ErrorCode::kFormat,
                    "labels: expected names in UTF-8, found \"" + base::with_bytes_shown(name) + "\"");
  auto label = labels.begin();
  for (const auto& task : tasks) {
    std::unordered_set<std::string_view> ids;
    for (std::int64_t i = 0; i < task.outputs; ++i, ++label)
      if (!ids.insert(label->id).second)
        throw Error(ErrorCode::kMismatch, "labels: expected unique ids, found \"" + label->id + "\" twice");
  }
}

namespace {

constexpr std::size_t kMostFileBytes = 64 << 20, kMostLineBytes = 4096;

Label label_of(std::string_view line, std::size_t number) {
  const auto where = "line " + std::to_string(number) + ": ";
  if (line.find('\0') != line.npos) throw Error(ErrorCode::kLimit, where + "expected text, found a NUL byte");
  if (line.size() > kMostLineBytes)
    throw Error(ErrorCode::kLimit, where + "expected at most " + std::to_string(kMostLineBytes) + " bytes, found " +
                                       std::to_string(line.size()));
  if (!base::is_plain_text(line))
    throw Error(ErrorCode::kFormat, where + "expected UTF-8 without control characters, found other bytes");
  if (line.find_first_not_of(" \t") == line.npos)
    throw Error(ErrorCode::kMismatch, where + "expected a class, found a blank line");
  return {std::string(line), std::string(line)};
}

std::vector<Label> labels_of_lines(std::string_view text) {
  text = text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
  std::vector<Label> labels;
  while (!text.empty()) {
    auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    labels.push_back(label_of(line, labels.size() + 1));
  }
  return labels;
}

/// A name, or ["wnid", "name"].
Label label_of(const nlohmann::json& entry, std::size_t index) {
  if (entry.is_string()) return {entry, entry};
  if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string())
    return {entry[0], entry[1]};
  throw Error(ErrorCode::kFormat,
              "class " + std::to_string(index) + ": expected a name or [\"id\", \"name\"], found " + entry.type_name());
}

std::vector<Label> labels_of_json(std::string_view text) {
  const auto document = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!document.is_array() && !document.is_object())
    throw Error(ErrorCode::kFormat, "expected a class on each line, or a JSON array or object, found damaged JSON");
  std::vector<Label> labels;
  for (std::size_t i = 0; i < document.size(); ++i) {
    const auto key = std::to_string(i);
    if (document.is_object() && !document.contains(key))
      throw Error(ErrorCode::kMismatch, "expected the keys \"0\" to \"" + std::to_string(document.size() - 1) +
                                            "\", found no \"" + key + "\"");
    labels.push_back(label_of(document.is_object() ? document[key] : document[i], i));
  }
  return labels;
}

void check_unique(const std::vector<Label>& labels) {
  std::unordered_map<std::string_view, std::size_t> seen;
  for (std::size_t i = 0; i < labels.size(); ++i)
    if (const auto [first, fresh] = seen.emplace(labels[i].id, i); !fresh)
      throw Error(ErrorCode::kMismatch, "expected unique ids, found \"" + labels[i].id + "\" for classes " +
                                            std::to_string(first->second) + " and " + std::to_string(i));
}

}  // namespace

}  // namespace model

std::vector<Label> read_labels(const std::filesystem::path& path) {
  const auto bytes = base::read_file(path, model::kMostFileBytes);
  return base::named(path.string(), [&] {
    std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    const bool json = text.starts_with('[') || text.starts_with('{');
    auto labels = json ? model::labels_of_json(text) : model::labels_of_lines(text);
    if (labels.empty()) throw Error(ErrorCode::kMismatch, "expected a class at least, found none");
    model::check_unique(labels);
    return labels;
  });
}

const std::vector<Label>& imagenet_labels() {
  static const std::vector<Label> labels = [] {
    std::vector<Label> parsed;
    for (std::string_view rest = model::kImagenet1k; !rest.empty();) {  // lines of "wnid name"
      const auto line = rest.substr(0, rest.find('\n'));
      const auto space = line.find(' ');
      parsed.push_back({std::string(line.substr(0, space)), std::string(line.substr(space + 1))});
      rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    }
    return parsed;
  }();
  return labels;
}

}  // namespace graft
