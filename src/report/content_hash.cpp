#include <graft/dataset.h>
#include <graft/html_report.h>

#include "base/sha256.h"
#include "base/translate.h"

namespace graft {

namespace {

std::string hash_of(const Dataset& data) {
  base::Sha256 hash;
  // Each text behind its length: no two sequences look the same.
  const auto add = [&](const std::string& text) { hash.update(std::to_string(text.size()) + ":").update(text); };
  for (const auto& name : data.classes()) add(name);
  for (std::size_t i = 0; i < data.size(); ++i) {
    const auto content = data.content_id(i);
    if (content.empty()) return "";
    hash.update(std::to_string(data.label(i)) + " ");
    add(content);
  }
  return hash.hex();
}

}  // namespace

std::string content_hash(const Dataset& data) {
  return base::translated("content_hash", [&] { return hash_of(data); });
}

}  // namespace graft
