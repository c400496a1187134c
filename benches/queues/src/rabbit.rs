//! RabbitMQ: persistent messages in a durable queue, publisher confirms, one message at a time, manual acks. An ack is
//! not answered: RabbitMQ does not say when it is on disk.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};
use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};

use crate::queue::{PAYLOAD, Queue};
use crate::server::{Server, free_address};

const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

pub(crate) fn is_installed() -> bool {
    Path::new(PROGRAM).is_file()
}

pub(crate) fn start(folder: &Path) -> anyhow::Result<Server> {
    let (address, distribution) = (free_address()?, free_address()?);
    let mut command = Command::new(PROGRAM);
    command
        .current_dir(folder)
        .env("HOME", folder)
        .env("RABBITMQ_NODENAME", format!("bench{}@localhost", address.port()));
    command.env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1").env("RABBITMQ_NODE_PORT", address.port().to_string());
    command.env("RABBITMQ_DIST_PORT", distribution.port().to_string());
    command.env("RABBITMQ_MNESIA_BASE", folder.join("data")).env("RABBITMQ_LOG_BASE", folder.join("log"));
    command.env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("plugins")).env("RABBITMQ_PID_FILE", folder.join("pid"));
    Server::start("rabbitmq", command, folder, address)
}

pub(crate) struct Rabbit {
    /// Ends with this.
    _connection: Connection,
    channel: Channel,
    consumer: Option<Consumer>,
}

impl Rabbit {
    pub(crate) async fn connect(server: &Server) -> anyhow::Result<Rabbit> {
        let uri = format!("amqp://guest:guest@127.0.0.1:{}/%2f", server.address.port());
        let connection = Connection::connect(&uri, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        channel.basic_qos(1, BasicQosOptions::default()).await?;
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare("jobs".into(), durable, FieldTable::default()).await?;
        Ok(Rabbit { _connection: connection, channel, consumer: None })
    }
}

impl Queue for Rabbit {
    type Held = Delivery;

    async fn submit(&mut self) -> anyhow::Result<()> {
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions::default();
        let sent =
            self.channel.basic_publish("".into(), "jobs".into(), options, PAYLOAD.as_bytes(), persistent).await?;
        match sent.await? {
            Confirmation::Ack(_) => Ok(()),
            other => bail!("RabbitMQ answered {other:?} to a message"),
        }
    }

    async fn claim(&mut self) -> anyhow::Result<Delivery> {
        if self.consumer.is_none() {
            let options = BasicConsumeOptions::default();
            self.consumer =
                Some(self.channel.basic_consume("jobs".into(), "".into(), options, FieldTable::default()).await?);
        }
        let consumer = self.consumer.as_mut().context("there is a consumer")?;
        Ok(consumer.next().await.context("RabbitMQ closed the channel")??)
    }

    async fn complete(&mut self, message: Delivery) -> anyhow::Result<()> {
        message.ack(BasicAckOptions::default()).await?;
        Ok(())
    }
}
