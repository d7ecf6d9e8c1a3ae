/// Processes that mpirun or srun has started. A library of its own, graft::mpi, which find_package(graft COMPONENTS
/// mpi) gives where Graft was built with -DGRAFT_WITH_MPI=ON; not part of graft/graft.h. Needs no headers of MPI.
#pragma once

#include <memory>

#include <graft/communicator.h>
#include <graft/export.h>

namespace graft {

/// MPI, from here to the end of the object. One in a program, made and used by its main thread; nothing else in the
/// library initialises MPI.
class GRAFT_EXPORT MpiSession {
 public:
  /// Initialises MPI, unless the program has, which then also finalises it. Throws Error kIo.
  MpiSession();
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  /// Of all processes (MPI_COMM_WORLD, with an id of its own). Valid as long as the session.
  Communicator& world() const { return *world_; }

 private:
  std::unique_ptr<Communicator> world_;
  bool finalize_;
};

}  // namespace graft
