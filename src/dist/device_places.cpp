#include <algorithm>

#include "dist/device_sums.h"

namespace graft::dist {

bool all_apart(std::vector<std::string> places) {
  std::ranges::sort(places);
  return std::ranges::adjacent_find(places) == places.end() && (places.empty() || !places.front().empty());
}

}  // namespace graft::dist
