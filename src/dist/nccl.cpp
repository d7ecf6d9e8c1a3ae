#include <cstring>
#include <utility>

#include <ATen/cuda/CUDAContext.h>
#include <c10/core/DeviceGuard.h>
#include <torch/csrc/cuda/nccl.h>

#include <graft/error.h>

#include "base/host_name.h"
#include "base/side_stream.h"
#include "dist/device_sums.h"

namespace graft::dist {

namespace {

namespace nccl = torch::cuda::nccl;

/// The machine's name and the device's number for life: what a process calls cuda:0 may be another's cuda:1.
std::string place_of(c10::Device device) {
  const auto host = base::host_name();
  if (host.empty()) throw Error(ErrorCode::kIo, "this machine has no name");
  const auto& uuid = at::cuda::getDeviceProperties(device.index())->uuid;
  return host + " " + std::string(uuid.bytes, sizeof uuid.bytes);
}

class NcclSums final : public DeviceSums {
 public:
  NcclSums(Communicator& processes, c10::Device device) : stream_(device) {
    const c10::DeviceGuard on_device(device);
    nccl::ncclUniqueId id{};
    if (processes.rank() == 0) nccl::get_unique_id(id);
    const auto text = processes.broadcast(std::string(id.internal, sizeof id.internal));
    std::memcpy(id.internal, text.data(), sizeof id.internal);
    connection_ = nccl::comm_init_rank(processes.size(), id, processes.rank());
  }
  ~NcclSums() override { nccl::comm_destroy(connection_); }

  c10::Event start(const at::Tensor& flat) override {
    stream_.follow();
    auto summed = stream_.run([&] {
      std::vector<at::Tensor> out{flat};
      nccl::all_reduce({flat}, out, static_cast<int>(nccl::ncclRedOp::Sum), {}, {connection_});
      return flat;
    });
    return std::move(summed.there);
  }

 private:
  base::SideStream stream_;
  nccl::ncclComm_t connection_ = nullptr;
};

}  // namespace

std::unique_ptr<DeviceSums> connect_devices(Communicator& processes, c10::Device device) {
  if (!all_apart(processes.all_gather(place_of(device)))) return nullptr;
  return std::make_unique<NcclSums>(processes, device);
}

}  // namespace graft::dist
