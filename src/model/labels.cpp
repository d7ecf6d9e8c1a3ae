#include "model/labels.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_set>

#include <graft/error.h>

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
  auto label = labels.begin();
  for (const auto& task : tasks) {
    std::unordered_set<std::string_view> ids;
    for (std::int64_t i = 0; i < task.outputs; ++i, ++label)
      if (!ids.insert(label->id).second)
        throw Error(ErrorCode::kMismatch, "labels: expected unique ids, found \"" + label->id + "\" twice");
  }
}

}  // namespace model

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
