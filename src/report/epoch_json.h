/// An epoch's figures as to_json writes them.
#pragma once

#include <nlohmann/json.hpp>

#include <graft/history.h>

namespace graft::report {

nlohmann::json epoch_json(const EpochInfo& epoch);

}  // namespace graft::report
