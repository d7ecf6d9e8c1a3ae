#include <graft/error.h>

#include "text/basic_tokenizer.h"

namespace graft::text {

void require_unicode() {
  throw Error(ErrorCode::kConfig,
              "texts: this Graft was built without ICU (Debian: libicu-dev; build it with -DGRAFT_WITH_ICU=ON)");
}

void for_each_word(std::string_view, std::size_t, const Splitting&, const std::function<bool(std::string_view)>&) {
  require_unicode();
}

}  // namespace graft::text
