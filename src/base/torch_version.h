/// The LibTorch in this process beside the one whose headers the library was compiled with.
#pragma once

#include <cstdint>
#include <string>

namespace graft::base {

/// Throws Error kMismatch, naming both, if they differ in the major or minor version: what classes look like in memory
/// changes between those, and a wrong one is a crash later.
void check_torch_version();

/// The same for a version as LibTorch states it: bytes from the top are major, minor, patch.
void check_torch_version(std::uint64_t running);

/// "2.13.0": of the LibTorch in this process.
std::string running_torch_version();

}  // namespace graft::base
