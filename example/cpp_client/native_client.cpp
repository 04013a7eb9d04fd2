// Asks for the sums of two instances in one request with the protocol of MindSpore Serving.
//
// Usage: native_client [ip:port]

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstring>
#include <iostream>
#include <string>
#include <vector>

#include "ms_service.grpc.pb.h"

namespace ms = mindspore::serving::proto;

namespace {

constexpr std::chrono::seconds kTimeout{30};

// A float32 tensor: shape, and the bytes little-endian in C order.
ms::Tensor ToTensor(const std::vector<int64_t>& shape, const std::vector<float>& values) {
  ms::Tensor tensor;
  for (const int64_t size : shape) tensor.mutable_shape()->add_dims(size);
  tensor.set_dtype(ms::MS_FLOAT32);
  tensor.set_data(values.data(), values.size() * sizeof(float));
  return tensor;
}

void AddInstance(ms::PredictRequest* request, const ms::Tensor& x1, const ms::Tensor& x2) {
  auto& items = *request->add_instances()->mutable_items();
  items["x1"] = x1;
  items["x2"] = x2;
}

void PrintTensor(const std::string& name, const ms::Tensor& tensor) {
  std::vector<float> values(tensor.data().size() / sizeof(float));
  std::memcpy(values.data(), tensor.data().data(), tensor.data().size());
  std::cout << name << " =";
  for (const float value : values) std::cout << " " << value;
  std::cout << "\n";
}

// Prints the outputs of each instance, or its error. There are no errors, one for all, or one for each instance, in which
// code 0 is none.
void PrintReply(const ms::PredictReply& reply) {
  if (reply.instances_size() == 0 && reply.error_msg_size() == 1) {
    std::cout << "the request failed: " << reply.error_msg(0).error_msg() << "\n";
  }
  for (int i = 0; i < reply.instances_size(); ++i) {
    std::cout << "instance " << i << ": ";
    if (reply.error_msg_size() > 0 && reply.error_msg(i).error_code() != 0) {
      std::cout << "error " << reply.error_msg(i).error_code() << ", " << reply.error_msg(i).error_msg() << "\n";
      continue;
    }
    for (const auto& [name, tensor] : reply.instances(i).items()) PrintTensor(name, tensor);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string address = argc > 1 ? argv[1] : "127.0.0.1:5500";
  const auto channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  const auto stub = ms::MSService::NewStub(channel);

  ms::PredictRequest request;
  request.mutable_servable_spec()->set_name("add");
  request.mutable_servable_spec()->set_method_name("add_common");
  AddInstance(&request, ToTensor({2, 2}, {1, 2, 3, 4}), ToTensor({2, 2}, {10, 20, 30, 40}));
  AddInstance(&request, ToTensor({3}, {1, 2, 3}), ToTensor({3}, {10, 20, 30}));

  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kTimeout);
  ms::PredictReply reply;
  const grpc::Status status = stub->Predict(&context, request, &reply);
  if (!status.ok()) {
    std::cerr << "The server at " << address << " does not answer: " << status.error_message() << "\n";
    return 1;
  }
  PrintReply(reply);
  return 0;
}
