/// Text for people, the same whatever locale the program that uses the library has set.
#pragma once

#include <string>

namespace graft::base {

/// std::printf into a string, in the "C" locale. Safe to call from several threads.
__attribute__((format(printf, 1, 2))) std::string format(const char* pattern, ...);

}  // namespace graft::base
