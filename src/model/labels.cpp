#include <graft/inspect.h>

#include <algorithm>
#include <string_view>

#include "model/imagenet1k.h"

namespace graft {

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
