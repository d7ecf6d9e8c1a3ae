/// What the processes of a fit tell each other.
#pragma once

#include <optional>
#include <vector>

#include <graft/communicator.h>
#include <graft/loader.h>

#include "train/checkpoint.h"

namespace graft::train {

/// This process's part of every batch; all of it where `processes` is null.
BatchShare share_of(const Communicator* processes, bool by_example);

/// The lists of all, one after another; `mine` where `processes` is null.
std::vector<BadImage> of_all(Communicator* processes, std::vector<BadImage> mine);

/// The state that rank 0 has; what the others have does not matter.
std::optional<RunState> of_first(Communicator& processes, std::optional<RunState> state);

}  // namespace graft::train
