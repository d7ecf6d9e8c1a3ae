/// GRAFT_EXPORT marks what the library shows to its users; everything else is hidden (-fvisibility=hidden). An
/// application that links the static library and should not show it either links with
/// -Wl,--exclude-libs,libgraft.a.
#pragma once

/// Shows a class or function to users of the library.
#define GRAFT_EXPORT __attribute__((visibility("default")))
