#include <cstring>

#include <ATen/cuda/CUDAContext.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/cuda/nccl.h>
#include <unistd.h>

#include <graft/error.h>

#include "base/side_stream.h"
#include "dist/device_sums.h"

namespace graft::dist {

namespace {

namespace nccl = torch::cuda::nccl;

/// The machine's name and the device's number for life: what a process calls cuda:0 may be another's cuda:1.
std::string place_of(c10::Device device) {
  char host[256] = {};
  if (::gethostname(host, sizeof host - 1) != 0) throw Error(ErrorCode::kIo, "this machine has no name");
  const auto& uuid = at::cuda::getDeviceProperties(device.index())->uuid;
  return std::string(host) + " " + std::string(uuid.bytes, sizeof uuid.bytes);
}

class NcclSums final : public DeviceSums {
 public:
  NcclSums(Communicator& processes, c10::Device device)
      : device_(device), stream_(c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device)) {
    const c10::DeviceGuard on_device(device_);
    nccl::ncclUniqueId id{};
    if (processes.rank() == 0) nccl::get_unique_id(id);
    const auto text = processes.broadcast(std::string(id.internal, sizeof id.internal));
    std::memcpy(id.internal, text.data(), sizeof id.internal);
    connection_ = nccl::comm_init_rank(processes.size(), id, processes.rank());
  }
  ~NcclSums() override { nccl::comm_destroy(connection_); }

  c10::Event start(const at::Tensor& flat) override {
    const c10::DeviceGuard on_device(device_);
    base::order(base::current_stream(device_), stream_);
    const c10::StreamGuard guard(stream_);
    std::vector<at::Tensor> out{flat};
    nccl::all_reduce({flat}, out, static_cast<int>(nccl::ncclRedOp::Sum), {}, {connection_});
    flat.record_stream(stream_);
    c10::Event there(device_.type());
    there.record(stream_);
    return there;
  }

 private:
  c10::Device device_;
  c10::Stream stream_;
  nccl::ncclComm_t connection_ = nullptr;
};

}  // namespace

std::unique_ptr<DeviceSums> connect_devices(Communicator& processes, c10::Device device) {
  if (!all_apart(processes.all_gather(place_of(device)))) return nullptr;
  return std::make_unique<NcclSums>(processes, device);
}

}  // namespace graft::dist
